"""What `download` needs, looked at one by one: configuration, hosts, keys, agent, disk, ledger."""
