"""Environments in supervised processes of their own."""
