"""Learning by playing against oneself: search makes the network better, and the network the search."""
