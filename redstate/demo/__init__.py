"""The demo: a shop of several worker processes that are killed and replaced, and its books checked against the server.

plan.py       what each conversation asks for, and what must be in the server in the end; pure
shop.py       the agent, which the runner serves from several processes
drive.py      plays the plan on the local platform and measures
trouble.py    kills a worker and replaces another meanwhile, and tells what becomes of it
facts.py      what a run leaves in the server besides its conversations, so that it can be checked again later
verify.py     reads the server and compares it with the plan
run.py        all of that in order; report.py and display.py show it
"""
