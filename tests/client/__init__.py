"""What an application calls."""
