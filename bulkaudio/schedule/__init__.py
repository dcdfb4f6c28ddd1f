"""Files that make other programs run a download every night: values in, texts out."""
