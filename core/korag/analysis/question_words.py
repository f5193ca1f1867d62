r"""Words and endings that only make a query a question or a request, as data for `korag.analysis.questions`.

Each entry is a regular expression of what a Korean writes; ``\s?`` stands where spaces are optional. An entry belongs
here only if it is of no use for finding a document, whatever the query is about: where a noun ends in the same
syllables (사업시행인가, 바나나, 국민가요), the entry is under `ASKING_IF_MARKED` or lists the stems that it may follow.
"""

PROTECTED = (
    r"'[^'\n]*'", r'"[^"\n]*"', "‘[^’\n]*’", "“[^”\n]*”", "「[^」\n]*」", "『[^』\n]*』", "«[^»\n]*»", "《[^》\n]*》",
    "〈[^〉\n]*〉", r"`[^`]*`", r"<[^<>\n]*>", r"\([^()\n]*\)", r"\[[^\[\]\n]*\]", r"\{[^{}\n]*\}",
)  # fmt: skip
"""Names of works, sections, and code: nothing inside is changed, and nothing before the last one is an ending."""

CLOSING = (
    "감사합니다", "고맙습니다", r"부탁\s?드립니다", r"부탁\s?드려요", r"부탁\s?합니다", r"부탁\s?해요", "부탁해",
)  # fmt: skip
"""Polite words at the end."""

REQUESTS = (
    # 알려줘, 말해 주세요, 찾아 주실 수 있나요
    r"(?:알려|말해|말씀해|가르쳐|찾아|보여|일러)\s?(?:줘|줘요|주세요|주십시오|줄래|줄래요|주시겠어요|주실래요|주시기\s바랍니다|다오|주라"
    r"|(?:줄|주실)\s?수\s?있(?:어|어요|나요|니|을까요|습니까))",
    r"(?:설명|소개|안내|서술|기술|답변|대답|요약|정리|검색)(?:을|를)?\s?(?:좀\s?)?"
    r"(?:해\s?(?:줘|줘요|주세요|주십시오|줄래|줄래요|주시겠어요|주실래요|주시기\s바랍니다)"
    r"|하시오|하라|해라|하세요|하십시오|해\s?(?:줄|주실)\s?수\s?있(?:어|어요|나요|니|을까요|습니까))",
    r"알고\s?싶(?:어|어요|습니다|은데요)", r"궁금(?:해|해요|합니다|하다|한데요)",
)  # fmt: skip
"""Requests for an answer, at the end of a query."""

ADVERBS = ("자세히", "자세하게", "상세히", "간단히", "간단하게", "간략히", "간략하게", "쉽게", "좀", "한번")
"""Manners of answering, before a request."""

TOPICS = (
    r"에\s?(?:대해|대해서|대하여|관해|관해서|관하여)(?:\s?좀)?",
    r"에\s?(?:대한|관한)\s?(?:내용|정보|설명|것)(?:을|를|이|은)?", r"의\s?내용(?:을|이|은)?",
)  # fmt: skip
"""Ties of the topic to a request or to 무엇인가; removed only with one of them."""

QUESTION_WORDS = r"(?:무엇|무어|뭐|뭣|누구|어디|언제|얼마|어느\s?것|어떤\s?것)"
COPULAS = (
    r"(?:인가요?|입니까|일까요?|인지요?|인지|이에요|예요|에요|이야|야|이죠|죠|이지요|지요|이냐|냐|이니|니|임|인데요?|일지"
    r"|인가용|인감|인거야|인\s?거야|인\s?건가요|인\s?것인가요?|이었나요|였나요|이었을까요|였을까요|였습니까|이었습니까)"
)
_THERE_IS = r"있(?:나요|어요?|을까요?|는가요?|는지요?|습니까|지|죠)"
ASKING_WHAT = (
    rf"{QUESTION_WORDS}{COPULAS}",
    r"(?:뭔|누군|어딘|언젠)(?:가요|지요?|데요?)",
    r"(?:뭔|누군|어딘)가",
    r"(?:뭘|누굴|어딜|언젤)까요?",
    r"(?:뭡|누굽|어딥|언젭)니까",
    r"어떻게\s?(?:해야\s?)?(?:되|하)(?:나요?|는가요?|는지요?|며|니|냐)",
    r"어떻게\s?(?:해야\s?)?(?:돼|해)요?",
    r"어떻게\s?(?:해야\s?)?(?:됩니까|합니까|될까요?|할까요?)",
    r"어떻게\s?(?:되었|됐|했)(?:나요?|는가요?|는지요?|습니까)",
    r"어떡(?:해요?|하죠|하나요|할까요?)",
    r"어떤(?:가요?|지요?)",
    r"어떠한(?:가요?|지)",
    r"어떨까요?",
    r"어떻습니까",
    r"어떠합니까",
    r"어때요?",
    rf"(?:어떤\s?것들?이|어떤\s?게|무엇이|뭐가|뭐|어디에?)\s?{_THERE_IS}",
)
"""Predicates that consist of the question: words of their own, at the end."""

BARE_QUESTION_WORDS = r"(?:무엇|뭐|누구|어디|언제|얼마)"
"""The same without a predicate, before a question mark."""

LIGHT_VERBS = (
    r"(?:수\s?)?있(?:나요|는가요?|습니까|을까요?|는지요?|을지|었나요|었는가|었을까요?|었습니까|는\s?것인가요?)",
    r"(?:하|되)(?:나요|는가요?|는지요?|였나요|였는가|였습니까|었나요|었는가|었습니까|는\s?것인가요?)",
    r"(?:합|됩|했습|됐습)니까",
    r"(?:했|됐)(?:나요|는가|을까요?|는지)",
    r"(?:할|될)까요?",
)
"""Verbs without a meaning of their own, as whole words: 있나요, 수 있을까요, 합니까."""

ASKING = (
    r"(?:인|은|는|던|운|한|른|픈|큰|된|린|쁜)가요",
    "나요",
    "까요",
    r"[습입합됩]니까",
    r"[는은인]지요",
)
"""Endings of questions, cut from the word that they are written on."""

ASKING_IF_MARKED = (
    "는가",
    r"(?:(?<=[가-힣]{2})|(?<=것))인가",
    r"(?<=[은운한른픈큰된던])가",
    r"(?:(?<=[가-힣]{2})|(?<=것))일까",
    r"(?<=[을할될볼갈올줄])까",
    "[는인은을]지",
    "니까",
    "이에요",
    "예요",
    r"(?<=[었았했됐였있없])(?:나|니|어|어요|냐)",
    r"(?<=되)나",
)
"""The same where a noun can end so: only before a question mark, in a request, or with a word that asks. A word of one
syllable before 인가 and 일까 is more often part of a noun (무인가, 오일까지)."""

QUESTION_ADVERBS = (
    r"무엇(?:을|이|으로|에|이라고|이라)?",
    "무슨",
    r"뭐(?:라고|라|를|가)?",
    "뭘",
    "누가",
    r"누구(?:를|에게|의|와|로부터)?",
    r"언제(?:부터|까지)?",
    r"어디(?:에|에서|서|로|를|의|까지|부터)?",
    "왜",
    "어떻게",
    "어떤",
    "어느",
    "얼마나",
    "얼마",
    "몇",
)
"""Words that ask, in the middle of a question; 누구나, 언제나 and 누구는 are none."""
