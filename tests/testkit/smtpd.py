"""A real SMTP server that wants TLS and a login: aiosmtpd, which prints the mails that it gets.

smtpd.py PORT starttls|implicit CERTIFICATE KEY USER PASSWORD
"""

import ssl
import sys
import threading

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Debugging
from aiosmtpd.smtp import AuthResult

port, mode, certificate, key, user, password = sys.argv[1:]
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(certificate, key)


def login(server, session, envelope, mechanism, data):
    good = data.login == user.encode() and data.password == password.encode()
    return AuthResult(success=good, handled=False)


protection = {"ssl_context": context} if mode == "implicit" else {"tls_context": context, "require_starttls": True}
# Over implicit TLS there is no STARTTLS that the login could wait for.
controller = Controller(
    Debugging(sys.stdout),
    hostname="127.0.0.1",
    port=int(port),
    authenticator=login,
    auth_required=True,
    auth_require_tls=mode == "starttls",
    **protection,
)
controller.start()
threading.Event().wait()
