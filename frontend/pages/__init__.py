"""The dashboard's pages, one package each; `shared` holds what several of them use."""
