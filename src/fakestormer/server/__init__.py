"""The local web page and REST API: what people send is judged by other processes, never here."""
