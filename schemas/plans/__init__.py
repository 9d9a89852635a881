"""Plans of ensembles: who is asked, and how it is decided. Nothing here carries a plan out."""
