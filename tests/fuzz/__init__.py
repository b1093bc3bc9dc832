"""Requests that nobody would send, by the million, to the real server over the store in memory.

`python -m tests.fuzz --requests 1000000 --seed 7` runs it; `test_fuzz.py` is the short run. What enters is a seed, what
leaves is a table of what was answered and, when a rule was broken, the shortest list of requests that breaks it again.

    surface.py   what there is to ask for, read from the server's own discovery
    values.py    texts and numbers, plausible and hostile
    objects.py   objects of every kind: golden files, and growth by the schema
    mutation.py  what is done to a body: to its tree, to its JSON, to its bytes
    patches.py   patches of all types
    grammar.py   whole requests, from what earlier answers showed
    steps.py     what a run consists of, as values that can be written down
    named.py     the answers of 500 and above that the specification names
    oracle.py    what every answer must be
    witness.py   watches of everything: their replay is the LIST
    play.py      plays steps against a fresh server and judges the answers and the state
    shrink.py    the shortest list of steps that still breaks the rule

A run is a row of rounds, each with a server and a generator of its own made from (seed, round): memory is bounded, and
a round that fails can be played again alone. Nothing else is random, and time stands still until a step moves it.
"""
