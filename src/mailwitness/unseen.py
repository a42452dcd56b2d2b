"""Characters that hide from whoever reads a text, or paint over it: ranges for a character class of a regular expression."""

# Everything a screen obeys or hides instead of showing: controls, direction
# marks, zero-width and filler characters, invisible tags, lone surrogates,
# non-characters. Variation selectors 15 and 16 are not among them: they only
# choose how an emoji looks. A test compares this list with the Unicode database.
HIDDEN = (
    "\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u070f\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f"
    "\u2000-\u200f\u2028-\u202e\u205f-\u206f\u2800\u3164\ud800-\udfff\ufe00-\ufe0d\ufeff\uffa0"
    "\ufff0-\ufffb\ufffe\uffff\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# Marks that stack upon the letter before them.
STACKING = (
    "\u0300-\u034e\u0350-\u036f\u0483-\u0489\u0610-\u061a\u064b-\u065f\u0e31\u0e34-\u0e3a"
    "\u0e47-\u0e4e\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
)
