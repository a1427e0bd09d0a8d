"""Tools of the API for agents, over the Model Context Protocol. Needs the extra `mcp`; loads no torch."""
