"""Text analysis of the lexical leg: tokenizers, references to statutes, spellings."""
