"""The Dash dashboard; it talks to the API through the client only."""
