"""Queries as people type them, for the training of the mini models."""

import unicodedata

import numpy as np

QUERY = "도서관에서 빌린 책을 2주 뒤까지 Wi-Fi로 늘릴 수 있나요?"


def test_every_change_is_the_one_it_says(minis) -> None:
    augment = minis.augment
    rng = np.random.default_rng(4)
    assert augment.without_spaces(QUERY) == QUERY.replace(" ", "")
    assert augment.without_particles("도서관에서는 책을 이용자에게 빌려준다") == "도서관 책을 이용자 빌려준다"
    assert augment.without_particles("이 가수의 노래") == "이 가수 노래"
    wide = augment.in_full_width(QUERY)
    assert wide != QUERY
    assert unicodedata.normalize("NFKC", wide) == QUERY
    for _ in range(50):
        spaced = augment.with_random_spaces(QUERY, rng)
        assert spaced.replace(" ", "") == QUERY.replace(" ", "")
        wrong = augment.with_a_wrong_jamo(QUERY, rng)
        ((old, new),) = [(a, b) for a, b in zip(QUERY, wrong, strict=True) if a != b]
        one, other = (unicodedata.normalize("NFD", letter) for letter in (old, new))
        assert "가" <= new <= "힣"
        assert sum(a != b for a, b in zip(one.ljust(3), other.ljust(3), strict=True)) == 1
    assert augment.with_a_wrong_jamo("Wi-Fi 2", rng) == "Wi-Fi 2"
    made = {augment.augment(QUERY, rng) for _ in range(60)}
    assert len(made) > 10
    assert augment.augment(" ", rng) == " "
    first, second = (
        [augment.augment(QUERY, generator) for _ in range(9)]
        for generator in (np.random.default_rng(1), np.random.default_rng(1))
    )
    assert first == second
