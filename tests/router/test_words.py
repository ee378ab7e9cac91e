import numpy as np

from router.words import representative_words

ADDRESSES = (
    "see https://tracker.example.org/ticket/1 or <http://docs.example.org/latest> and www.example.org "
    "in /usr/lib/site-packages/framework/handlers.py and C:\\\\Users\\\\somebody by somebody@mail.example "
    "at 0xdeadbeefcafe commit deadbeefdeadbeef id abcdabcd-efab-cdef-abcd-efabcdefabcd src/tool.cfg"
)


def test_words_are_no_pieces_of_urls_paths_and_hexadecimal_numbers() -> None:
    texts = [f"{word} breaks {ADDRESSES} either/or" for word in ("parser", "socket") for _ in range(4)]
    words = representative_words(texts, np.repeat([0, 1], 4), 2, count=50)
    assert words[0][0] == "parser"
    assert words[1][0] == "socket"
    assert set(words[0]) == {"parser", "breaks", "commit"}


def test_one_long_text_does_not_name_a_cluster_and_an_empty_one_has_no_words() -> None:
    texts = ["timeout " * 200, "tokens", "tokens and a parser", "a socket"]
    assert representative_words(texts, np.array([0, 0, 0, 2]), 3) == [("tokens",), (), ("socket",)]
    assert representative_words(["1234", "!!"], np.array([0, 1]), 2) == [(), ()]
