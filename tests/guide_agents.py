"""The classes of the state-management guide, on redstate: only their import and their base class are others.

Names and structure are the guide's, as they are what is under test; so are its ways of doing things. Where a line of
the guide cannot work for reasons of its own, the comment there says why and what was changed.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import redis
from conversimple import tool

from redstate.conversimple import StatefulAgent as ConversimpleAgent

logger = logging.getLogger(__name__)

# What the guide takes for granted ------------------------------------------------------------------------------------


class AuthService:
    def authenticate(self, username: str, password: str) -> Any:
        known = (username, password) == ("ada", "open sesame")
        return SimpleNamespace(id="user-7", username=username) if known else None


class BookingService:
    def create(self, data: dict) -> Any:
        return SimpleNamespace(id=f"{data['check_in']}/{data['check_out']}")


class Database:
    loads = 0

    def get_product(self, product_id: str) -> dict:
        self.loads += 1
        return {"id": product_id, "price": 5}


auth_service, booking_service, database = AuthService(), BookingService(), Database()


def own_redis() -> Any:
    return redis.Redis.from_url(os.environ["GUIDE_REDIS_URL"], decode_responses=True)


# State of a conversation ---------------------------------------------------------------------------------------------


class StatefulAgent(ConversimpleAgent):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conversations = {}

    def on_conversation_started(self, conversation_id: str) -> None:
        self.conversations[conversation_id] = {
            "customer_id": None,
            "authenticated": False,
            "cart": [],
            "preferences": {},
            "conversation_history": [],
            "created_at": datetime.now(),
        }

    def get_state(self, conversation_id: str) -> dict:
        return self.conversations.get(conversation_id, {})

    def update_state(self, conversation_id: str, **updates: Any) -> None:
        if conversation_id in self.conversations:
            self.conversations[conversation_id].update(updates)

    def on_conversation_ended(self, conversation_id: str) -> None:
        if conversation_id in self.conversations:
            state = self.conversations.pop(conversation_id)
            self.persist_conversation(conversation_id, state)


class ShopAgent(StatefulAgent):
    @tool("Add item to cart")
    def add_to_cart(self, product_id: str, quantity: int = 1) -> dict:
        conv_id = self.current_conversation_id
        state = self.get_state(conv_id)
        if not state.get("authenticated"):
            return {"error": "Please log in first"}
        state["cart"].append({"product_id": product_id, "quantity": quantity, "added_at": datetime.now()})
        return {"success": True, "cart_size": len(state["cart"])}

    @tool("Get cart total")
    def get_cart_total(self) -> dict:
        conv_id = self.current_conversation_id
        state = self.get_state(conv_id)
        total = sum(item.get("price", 0) * item.get("quantity", 1) for item in state.get("cart", []))
        return {"total": total, "items": len(state["cart"])}


# Patterns ------------------------------------------------------------------------------------------------------------


class SessionAgent(ConversimpleAgent):
    @tool("Login")
    def login(self, username: str, password: str) -> dict:
        conv_id = self.current_conversation_id
        user = auth_service.authenticate(username, password)
        if user:
            self.update_state(
                conv_id,
                authenticated=True,
                user_id=user.id,
                username=user.username,
                session_started=datetime.now(),
            )
            return {"success": True, "user": user.username}
        return {"success": False, "error": "Invalid credentials"}

    @tool("Logout")
    def logout(self) -> dict:
        conv_id = self.current_conversation_id
        self.update_state(conv_id, authenticated=False, user_id=None)
        return {"success": True}


class ShopWithLogin(SessionAgent, ShopAgent):
    """Two of the guide's patterns in one agent: the cart asks for a login, which the other provides."""


class WorkflowAgent(ConversimpleAgent):
    def on_conversation_started(self, conversation_id: str) -> None:
        super().on_conversation_started(conversation_id)
        self.update_state(conversation_id, workflow_step="initial", workflow_data={})

    @tool("Start booking")
    def start_booking(self) -> dict:
        conv_id = self.current_conversation_id
        self.update_state(conv_id, workflow_step="collecting_dates")
        return {"message": "When would you like to book?"}

    @tool("Set dates")
    def set_dates(self, check_in: str, check_out: str) -> dict:
        conv_id = self.current_conversation_id
        state = self.get_state(conv_id)
        state["workflow_data"]["check_in"] = check_in
        state["workflow_data"]["check_out"] = check_out
        self.update_state(conv_id, workflow_step="collecting_guests")
        return {"message": "How many guests?"}

    @tool("Confirm booking")
    def confirm_booking(self) -> dict:
        conv_id = self.current_conversation_id
        state = self.get_state(conv_id)
        if state.get("workflow_step") != "ready_to_confirm":
            return {"error": "Please complete all booking details first"}
        booking = booking_service.create(state["workflow_data"])
        self.update_state(conv_id, workflow_step="completed", booking_id=booking.id)
        return {"success": True, "booking_id": booking.id}


class CompleteWorkflowAgent(WorkflowAgent):
    """The guide asks for the guests, and has no tool that takes the answer: nothing sets "ready_to_confirm"."""

    @tool("Set guests")
    def set_guests(self, guests: int) -> dict:
        conv_id = self.current_conversation_id
        self.get_state(conv_id)["workflow_data"]["guests"] = guests
        self.update_state(conv_id, workflow_step="ready_to_confirm")
        return {"message": "Shall I book it?"}


class CachedAgent(ConversimpleAgent):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cache: dict[str, Any] = {}
        self.cache_ttl = timedelta(minutes=5)

    def get_cached(self, key: str, default: Any = None) -> Any:
        entry = self.cache.get(key)
        if entry:
            if datetime.now() - entry["timestamp"] < self.cache_ttl:
                return entry["value"]
            del self.cache[key]
        return default

    def set_cached(self, key: str, value: Any) -> None:
        self.cache[key] = {"value": value, "timestamp": datetime.now()}

    @tool("Get product details")
    def get_product(self, product_id: str) -> dict:
        cache_key = f"product:{product_id}"
        cached = self.get_cached(cache_key)
        if cached:
            return {**cached, "cached": True}
        product = database.get_product(product_id)
        self.set_cached(cache_key, product)
        return product


class SharedCacheAgent(CachedAgent):
    """The same without the two methods of its own: those of the base class share what they cache."""

    get_cached = ConversimpleAgent.get_cached
    set_cached = ConversimpleAgent.set_cached


# Storage of its own --------------------------------------------------------------------------------------------------


class PersistentAgent(ConversimpleAgent):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # check_same_thread=False is added: by default a connection serves only the thread that opened it, and sync
        # tools run in others, in the SDK as here, where sync hooks do so too.
        self.db = sqlite3.connect(os.environ["GUIDE_DATABASE"], check_same_thread=False)
        self.create_tables()

    def create_tables(self) -> None:
        self.db.execute("""
            CREATE TABLE IF NOT EXISTS conversation_state (
                conversation_id TEXT PRIMARY KEY,
                customer_id TEXT,
                state JSON,
                created_at TIMESTAMP,
                updated_at TIMESTAMP
            )
        """)
        self.db.commit()

    def save_state(self, conversation_id: str, state: dict) -> None:
        self.db.execute(
            "INSERT OR REPLACE INTO conversation_state (conversation_id, customer_id, state, updated_at) "
            "VALUES (?, ?, ?, ?)",
            # isoformat() is added: as from Python 3.12 sqlite3 warns of a datetime as it is.
            (conversation_id, state.get("customer_id"), json.dumps(state), datetime.now().isoformat()),
        )
        self.db.commit()

    def load_state(self, conversation_id: str) -> dict:
        cursor = self.db.execute("SELECT state FROM conversation_state WHERE conversation_id = ?", (conversation_id,))
        row = cursor.fetchone()
        return json.loads(row[0]) if row else {}

    def on_conversation_ended(self, conversation_id: str) -> None:
        state = self.conversations.get(conversation_id, {})
        self.save_state(conversation_id, state)


class RedisAgent(ConversimpleAgent):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.redis = own_redis()

    def save_state(self, conversation_id: str, state: dict) -> None:
        key = f"conversation:{conversation_id}"
        self.redis.setex(key, 86400, json.dumps(state))

    def load_state(self, conversation_id: str) -> dict:
        key = f"conversation:{conversation_id}"
        data = self.redis.get(key)
        return json.loads(data) if data else {}

    @tool("Get customer history")
    def get_customer_history(self, customer_id: str) -> dict:
        key = f"customer:{customer_id}"
        data = self.redis.get(key)
        return json.loads(data) if data else {"orders": [], "preferences": {}}


class CustomerStateAgent(ConversimpleAgent):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # Added: the guide's class uses it and does not make it.
        self.redis = own_redis()

    @tool("Get customer context")
    def get_customer_context(self, customer_id: str) -> dict:
        customer_data = self.redis.get(f"customer:{customer_id}")
        conv_id = self.current_conversation_id
        self.update_state(conv_id, customer_id=customer_id, customer_data=customer_data)
        return customer_data

    def on_conversation_ended(self, conversation_id: str) -> None:
        state = self.get_state(conversation_id)
        if state.get("customer_id"):
            customer_id = state["customer_id"]
            customer_key = f"customer:{customer_id}"
            profile = self.redis.get(customer_key) or {}
            profile["last_conversation"] = conversation_id
            profile["last_interaction"] = datetime.now().isoformat()
            self.redis.set(customer_key, json.dumps(profile))


class DecodingCustomerAgent(CustomerStateAgent):
    """The guide writes the profile with json.dumps and reads it without json.loads: as text, which takes no fields.

    Here the client decodes what it gets; everything else is as it was.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        plain = self.redis
        self.redis = SimpleNamespace(get=lambda key: json.loads(plain.get(key) or "null"), set=plain.set)


# Best practices ------------------------------------------------------------------------------------------------------


class TidyAgent(ConversimpleAgent):
    def on_conversation_ended(self, conversation_id: str) -> None:
        state = self.conversations.get(conversation_id)
        if state and state.get("customer_id"):
            self.save_important_data(state)
        self.conversations.pop(conversation_id, None)


class CarefulAgent(ConversimpleAgent):
    @tool("Get cart")
    def get_cart(self) -> dict:
        try:
            conv_id = self.current_conversation_id
            state = self.get_state(conv_id)
            return {"cart": state.get("cart", [])}
        except Exception as e:  # noqa: BLE001 - the guide's way
            logger.error(f"Error getting cart: {e}")
            return {"cart": [], "error": "Could not load cart"}
