"""What the README's figures come from: the daemon beside two baselines, in real processes on loopback."""
