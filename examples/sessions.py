"""A session: who is logged in, how often one may try, and changes that only a user who is logged in can make.

Run it: python examples/sessions.py
"""

import hmac
from typing import Any

from _serve import Example, Phone, until
from conversimple import tool

from redstate import errors_as_result
from redstate.conversimple import StatefulAgent

USERS = {"ada": ("user-7", "engine"), "bob": ("user-8", "crane")}  # your directory, with hashes for passwords
SILENCE = 2.0  # seconds until a silent caller is logged out; minutes, in earnest


class Bank(StatefulAgent):
    """Moves money for callers who have said who they are."""

    agent_id = "bank"

    @tool("Log in")
    @errors_as_result  # TooManyAttempts becomes {"error": ..., "retry_after": seconds}
    def login(self, username: str, password: str) -> dict[str, Any]:
        session = self.conversation().session
        left = session.attempt(username, limit=3, window=300)  # counted in all processes, before the password is read
        user_id, expected = USERS.get(username, ("", ""))
        if not user_id or not hmac.compare_digest(password, expected):
            return {"error": f"Wrong name or password; tries left: {left}"}
        session.login(user_id, username=username, ttl=900, idle=SILENCE)
        return {"message": f"Welcome, {username}."}

    @tool("Put money aside")
    @errors_as_result
    def save(self, euros: int) -> dict[str, Any]:
        # Judged in the same script as the change: a session that lapses meanwhile lets nothing through.
        saved = self.conversation().if_logged_in.state.increment("saved", euros)
        return {"message": f"You have put {saved} euros aside."}

    @tool("Say who is logged in")
    def who(self) -> dict[str, Any]:
        user = self.conversation().session.user()
        return {"message": "I do not know who you are." if user is None else f"You are {user.username}."}

    @tool("Log out")
    def logout(self) -> dict[str, Any]:
        return {"message": "Goodbye." if self.conversation().session.logout() else "You were not logged in."}


async def script(phone: Phone) -> None:
    line = await phone.call()

    async def logged_out() -> bool:
        return not await line.record.session.authenticated()

    await line.say("Put 10 euros aside.", "save", euros=10)
    await line.say("I am Ada, engineer.", "login", username="ada", password="engineer")
    await line.say("I mean: engine.", "login", username="ada", password="engine")
    await line.say("Put 10 euros aside.", "save", euros=10)
    print(f"{'':>8}  (the caller is silent)")
    await until(logged_out)
    await line.say("And 5 more.", "save", euros=5)
    await line.say("Ada again, engine.", "login", username="ada", password="engine")
    await line.say("And 5 more.", "save", euros=5)
    await line.say("That is all, log me out.", "logout")
    await line.say("Who am I?", "who")
    for guess in ("eagle", "heron", "stork"):
        await line.say(f"Now I am Bob, {guess}.", "login", username="bob", password=guess)
    await line.say("Bob, crane!", "login", username="bob", password="crane")  # right, but too late
    await line.hang_up()


EXAMPLE = Example(Bank, script)

if __name__ == "__main__":
    EXAMPLE.run()
