"""For those who write a store, a leg or an encoder: the contract as a pytest class, and fake encoders."""
