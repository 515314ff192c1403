"""`mg play`: a world in the browser.

session.py plays (worlds, what the player does, a clock) and knows nothing of sockets; hub.py and server.py move bytes
and know nothing of models; guard.py decides who may come in. encode.py is where page and server agree on bytes.
"""
