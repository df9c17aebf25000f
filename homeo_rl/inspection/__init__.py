"""What a run folder, a policy file or a shipped agent holds, without loading torch."""
