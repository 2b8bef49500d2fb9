"""Text for people: the four languages of the notice, HTML and terminal pieces, styles.

Knows words and layout. Must not know where facts come from.
"""
