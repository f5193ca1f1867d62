"""Readings of Hanja in Hangul, for the lexical leg's option `hanja=`: ``民法`` finds ``민법``, and the other way round.

A text's Hanja are read in documents and queries alike. A character with several readings has one here, so ``音樂`` is
음악 and ``娛樂`` 오악; a wrong reading costs a match with Hangul, never one with the same Hanja.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

_RUNS = (
    "가伽각刻간侃갈乫감勘갑匣강剛개介객喀갱坑갹醵거倨건乾걸乞검儉겁劫게偈격擊견堅결抉겸兼경京계係고古곡哭곤困골汨공供"
    "곶串과寡곽廓관冠괄刮광侊괘卦괴乖굉宏교交구丘국國군君굴堀궁宮권倦궐厥궤机귀晷규叫균勻귤橘극克근僅금今급伋긍亘기企"
    "긴緊길佶김金끽喫나儺낙諾난暖날捏남南납納낭囊내乃녀女년年념念녕寧노努농濃뇌惱뇨尿눈嫩눌訥뉴杻능能니尼닉匿다多단丹"
    "달撻담啖답沓당唐대代댁宅덕德도倒독毒돈墩돌乭동仝두兜둔屯득得등嶝라喇락洛란亂랄剌람嵐랍拉랑廊래來랭冷략掠량亮려侶"
    "력力련憐렬冽렴廉렵獵령令례例로勞록碌론論롱壟뢰儡료了룡龍루壘류劉륙六륜侖률律륭隆륵勒름凜릉凌리俚린吝림林립砬마摩"
    "막寞만万말唜망亡매埋맥脈맹孟멱冪면免멸滅명冥몌袂모侮목木몰歿몽夢묘卯무務묵墨문們물勿미味민岷밀密박剝반伴발勃방倣"
    "배倍백伯번幡벌伐범凡법法벽僻변卞별別병丙보保복伏본本볼乶봉俸부不북北분分불佛붕崩비丕빈嚬빙憑사乍삭削산傘살乷삼三"
    "삽揷상上새塞색穡생牲서墅석夕선仙설卨섬剡섭攝성城세世소召속俗손孫솔率송宋쇄刷쇠衰수修숙叔순巡술戌숭崇슬瑟습濕승丞"
    "시侍식埴신伸실失심審십什쌍雙씨氏아亞악堊안安알斡암唵압壓앙仰애厓액厄앵櫻야也약弱양佯어圄억億언偃얼孼엄俺업嶪엔円"
    "여予역亦연嚥열悅염厭엽曄영塋예乂오五옥屋온溫올兀옹壅와渦완婉왈曰왕往왜倭외外요僥욕慾용俑우于욱勖운云울蔚웅熊원元"
    "월月위位유乳육堉윤允율聿융戎은垠을乙음吟읍揖응凝의依이二익瀷인人일一임任입入잉仍자仔작作잔孱잠岑잡雜장丈재再쟁爭"
    "저佇적勣전佃절切점占접接정丁제制조俎족族존存졸卒종倧좌佐죄罪주主죽竹준俊줄茁중中즉卽즐櫛즙楫증增지之직直진唇질侄"
    "짐斟집執징徵차且착捉찬撰찰刹참僭창倉채債책冊처凄척倜천仟철凸첨僉첩堞청廳체剃초初촉促촌寸총叢촬撮최催추墜축丑춘春"
    "출出충充췌悴취取측側층層치侈칙則친親칠七침侵칩蟄칭秤쾌快타他탁倬탄呑탈奪탐探탑塔탕宕태兌택擇탱撑터攄토兎통慟퇴堆"
    "투偸특慝틈闖파坡판判팔八패佩팽彭퍅愎편便폄貶평坪폐吠포佈폭幅표俵품品풍楓피彼필匹핍乏하下학壑한寒할割함函합合항亢"
    "해亥핵劾행倖향享허噓헌憲헐歇험險혁奕현俔혈孑혐嫌협俠형亨혜兮호乎혹惑혼婚홀忽홍哄화化확擴환丸활活황凰회匯획劃횡宖"
    "효哮후侯훈勛훙薨훤喧훼卉휘彙휴休휼恤흉兇흑黑흔昕흘吃흠欠흡吸흥興희僖힐詰"
)
"""Each reading with its first Hanja: KS X 1001 sorts its Hanja by their readings. Those that it has a second time, for
another reading, are left out: in NFC they are the first."""
_USUAL = {"宅": "택", "不": "불", "率": "률", "嗇": "색", "泌": "비", "坍": "단", "串": "관", "金": "금"}
"""Readings more usual than those that KS X 1001 sorts these by."""
_HANJA = re.compile(r"[\u4e00-\u9fff]+")
_Y_VOWELS = frozenset((2, 3, 6, 7, 12, 17, 20))
"""ㅑ ㅒ ㅕ ㅖ ㅛ ㅠ ㅣ: before them, ㄴ and ㄹ are not spoken at the beginning of a word."""
_N, _D, _R, _SILENT, _J = 2, 3, 5, 11, 12
"""Initial consonants ㄴ ㄷ ㄹ ㅇ ㅈ, by their place in a syllable's code."""


@cache
def _readings() -> dict[str, str]:
    firsts = dict(zip(_RUNS[1::2], _RUNS[::2], strict=True))
    readings: dict[str, str] = {}
    reading = ""
    for row in range(42, 94):
        for column in range(1, 95):
            hanja = bytes((0xA0 + row, 0xA0 + column)).decode("euc_kr")
            if unicodedata.is_normalized("NFC", hanja):
                reading = firsts.get(hanja, reading)
                readings[hanja] = reading
    return readings | _USUAL


def read_hanja(text: str) -> str:
    """Writes Hanja in Hangul, by the rule of initial sounds: ``勞動法`` → ``노동법``, ``不動産`` → ``부동산``.

    (Hangul orthography, articles 10 to 12; 不 is 부 before ㄷ and ㅈ. Characters beyond KS X 1001 are left.)

    Args:
        text: In NFC.
    """
    return _HANJA.sub(_word, text)


def _word(found: re.Match[str]) -> str:
    before = found.string[found.start() - 1 : found.start()]
    readings = _readings()
    spoken: list[str] = []
    for place, hanja in enumerate(found.group()):
        syllable = readings.get(hanja, hanja)
        if "가" <= syllable <= "힣":
            syllable = _initial(syllable) if not place and not _is_hangul(before) else _inside(syllable, spoken, before)
        if spoken and found.group()[place - 1] == "不" and _parts(syllable)[0] in (_D, _J):
            spoken[-1] = "부"
        spoken.append(syllable)
    return "".join(spoken)


def _is_hangul(character: str) -> bool:
    return bool(character) and "가" <= character <= "힣"


def _parts(syllable: str) -> tuple[int, int, int]:
    """Initial, vowel and final of a Hangul syllable; −1 for another character."""
    if not _is_hangul(syllable):
        return -1, -1, -1
    code = ord(syllable) - 0xAC00
    return code // 588, code % 588 // 28, code % 28


def _with_initial(syllable: str, initial: int) -> str:
    _, vowel, final = _parts(syllable)
    return chr(0xAC00 + (initial * 21 + vowel) * 28 + final)


def _initial(syllable: str) -> str:
    """As at the beginning of a word: 녀 → 여, 로 → 노, 리 → 이."""
    initial, vowel, _ = _parts(syllable)
    if initial in (_N, _R) and vowel in _Y_VOWELS:
        return _with_initial(syllable, _SILENT)
    return _with_initial(syllable, _N) if initial == _R else syllable


def _inside(syllable: str, spoken: list[str], before: str) -> str:
    """As inside a word: 렬 and 률 are 열 and 율 after a vowel or ㄴ."""
    last = _parts(spoken[-1] if spoken else before)[2]
    return _with_initial(syllable, _SILENT) if syllable in ("렬", "률") and last in (0, 4) else syllable
