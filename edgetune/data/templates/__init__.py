"""Chat templates, rendered and traced; ``template`` makes token ids of them."""
