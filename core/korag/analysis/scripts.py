"""Character classes of the scripts in Korean texts, for regular expressions."""

# U+318D and U+119E are vowels of old Korean that modern texts use as a middle dot (설치ㆍ운영): separators.
HANGUL = "가-힣\u1100-\u119d\u119f-\u11ff\u3131-\u318c\u318e\ua960-\ua97f\ud7b0-\ud7ff"
HAN = "々\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
KANA = "\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
ENUMERATION = "\u2460-\u249b\u24ea-\u24ff\u2776-\u2793\u3251-\u325f\u32b1-\u32bf"  # ① ⑴ ⒈ …: no content
LETTER_OR_DIGIT = rf"[^\W_\u119e\u318d{HANGUL}{HAN}{KANA}{ENUMERATION}]"
