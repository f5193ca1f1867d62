"""English words whose keys are whole Korean syllables, so that only other words of the query tell which is meant."""

_WORDS = """
absent absorb airy alarm also always amend anchor angle angry anti apache audit augment auth author
authority auto chair chant chaos cheap check checks chosen circle city clap clarity clash clean cleans cork
corn cycle dial didn diety digit digital dirk dirty dish disk disks disown divisor dock doesn dorm dual duck
duel dusk duty eight eighth elem element endow enrich entity entry field fifth fifty firm firms fish flash
flavor focal focus foreign forgot fork forks form formal forms forth fuel fuzzy giant girl given goal goals
goto gown quantity quasi query queue rich right rigid risk risks rock rural shadow shake shape shark sharp
shelf shock shortcut shown sick sigma sign signal signals signs slack slant slash sleep sleeps snake snap
snapshot soak soap social sock socks spam span spans spatial spawn speak special specific specify spend
spent such sudo sufficient suffix suspend than their them theme then theorem theory they throw thrown tick
ticks tidy tight title today todo toggle torch total totals town toxic turn turns tutorial vial video videos
virtual visit visitor visual vital vocal wheel wheels when widen width widths wish witch with work works
world worry worth
"""
ENGLISH = frozenset(_WORDS.split())
