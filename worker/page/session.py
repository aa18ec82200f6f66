"""Who may act: a one-time login key, or a token, exchanged for a cookie; and a signed token in each form.

key --(POST /login, once)--> cookie --(with the token of a form that this page made)--> an action
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer

COOKIE = "sluice-page"
COOKIE_SECONDS = 12 * 3600
FORM_SECONDS = 3600


@dataclass
class Sessions:
    """The logins of one server: they end with it, for its secret does."""

    token: str | None = None  # of a page that others reach: without it nothing is shown
    may_act: bool = False
    announce: Callable[[str], None] = lambda _: None  # a new login key
    _secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    _key: str | None = field(default=None, init=False, repr=False)

    def new_key(self) -> None:
        """Makes and announces a login key; the one before is void."""
        self._key = secrets.token_urlsafe(32)
        self.announce(self._key)

    def login(self, given: str) -> str | None:
        """The value of a cookie for a login key, which is used up, or for the token; None for another text."""
        if self.token is not None:
            is_right = hmac.compare_digest(given.encode(), self.token.encode())
        else:
            is_right = self._key is not None and hmac.compare_digest(given.encode(), self._key.encode())
            if is_right:
                self.new_key()
        return self._signer("cookie").dumps(secrets.token_hex(16)) if is_right else None

    def session(self, cookie: str | None) -> str | None:
        """Whose cookie that is; None for none of ours, and for one that is too old."""
        if not cookie:
            return None
        try:
            return str(self._signer("cookie").loads(cookie, max_age=COOKIE_SECONDS))
        except BadSignature:  # too old too: whose cookie it is, is not known
            return None

    def form_token(self, session: str, path: str) -> str:
        """What a form that is sent to this path carries."""
        return self._signer("form").dumps([session, path])

    def refusal(self, session: str, path: str, given: str) -> str | None:
        """Why the token of a form does not hold; None where it does."""
        try:
            found = self._signer("form").loads(given, max_age=FORM_SECONDS)
        except SignatureExpired:  # the words are the answer
            return "The form is more than an hour old. Load its page again, and look whether it still says the same."
        except BadSignature:  # the words are the answer
            return "The form was not made by this page, or before it was started again. Load its page again."
        if found != [session, path]:
            return "The form is of another login, or for another action. Load its page again."
        return None

    def _signer(self, purpose: str) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self._secret, salt=f"sluice page {purpose}")
