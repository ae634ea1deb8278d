# SPDX-License-Identifier: Apache-2.0
"""Real directories for black-box tests, in the style of services.py: an OpenLDAP server and a Samba domain controller
of Active Directory, each in a temporary folder and on the loopback only.

    with Slapd(authority) as directory:
        directory.add("uid=alice,ou=people,dc=example,dc=test", objectClass=["inetOrgPerson"], cn="A", sn="A", uid="alice")
"""

import base64
import contextlib
import os
import secrets
import urllib.parse

from services import (LOOPBACK, Process, ServiceError, clean_environment, free_port, is_listening, run,
                      temporary_folder)

BASE = "dc=example,dc=test"
SCHEMAS = ("core", "cosine", "nis", "inetorgperson")


def ldif(dn, attributes, change=None):
    """An entry, or with change a change of it, as LDIF; every value in base64, so that nothing needs quoting."""
    lines = [f"dn:: {base64.b64encode(dn.encode()).decode()}"]
    if change:
        lines.append(f"changetype: {change}")
    for name, values in attributes.items():
        if change == "modify":
            lines.append(f"replace: {name}")
        for value in [values] if isinstance(values, (str, bytes)) else values:
            data = value if isinstance(value, bytes) else value.encode()
            lines.append(f"{name}:: {base64.b64encode(data).decode()}")
        if change == "modify":
            lines.append("-")
    return "\n".join(lines) + "\n\n"


class Slapd:
    """OpenLDAP: ldaps_port and port, ca_file of its authority; search_dn may read, everybody may bind.

    names: those of its certificate; size_limit: of every search."""

    search_dn = f"cn=search,{BASE}"

    def __init__(self, authority, names=("IP:127.0.0.1",), size_limit=None):
        self._authority, self._names, self._size_limit = authority, names, size_limit
        self._stack = contextlib.ExitStack()
        self._root_password, self.search_password = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        self.ca_file = authority.ca_file
        self.folder = self.process = self.port = self.ldaps_port = None

    @property
    def ldaps(self):
        return f"ldaps://{LOOPBACK}:{self.ldaps_port}"

    @property
    def ldap(self):
        return f"ldap://{LOOPBACK}:{self.port}"

    @property
    def _local(self):
        """Its Unix socket: for filling it, also when its certificate is bad on purpose."""
        return "ldapi://" + urllib.parse.quote(str(self.folder / "socket"), safe="")

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.folder = stack.enter_context(temporary_folder())
            self._write_configuration()
            self.port, self.ldaps_port = free_port(), free_port()
            self.start()
            stack.callback(self.stop)
            self._fill()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _write_configuration(self):
        certificate, key = self._authority.issue("slapd-" + secrets.token_hex(4), self._names)
        (self.folder / "data").mkdir()
        includes = "".join(f"include /etc/ldap/schema/{name}.schema\n" for name in SCHEMAS)
        limit = f"sizelimit {self._size_limit}\n" if self._size_limit else ""
        path = self.folder / "slapd.conf"
        path.touch(mode=0o600)
        path.write_text(f"""{includes}modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
pidfile {self.folder}/pid
TLSCACertificateFile {self.ca_file}
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}
localSSF 256
security simple_bind=128
allow bind_anon_cred bind_anon_dn
{limit}database mdb
suffix "{BASE}"
rootdn "cn=root,{BASE}"
rootpw {self._root_password}
directory {self.folder}/data
index objectClass,uid,member eq
overlay memberof
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{self.search_dn}" read by * auth
""")

    def start(self):
        urls = f"{self.ldap} {self.ldaps} {self._local}"
        self.process = Process(["/usr/sbin/slapd", "-d", "0", "-f", self.folder / "slapd.conf", "-h", urls],
                               log=self.folder / "log", folder=self.folder, port=self.ldaps_port)
        self.process.start()

    def stop(self):
        return self.process.stop()

    def _fill(self):
        self.add(BASE, objectClass=["dcObject", "organization"], dc="example", o="example")
        for unit in ("people", "groups"):
            self.add(f"ou={unit},{BASE}", objectClass="organizationalUnit", ou=unit)
        self.add(self.search_dn, objectClass=["organizationalRole", "simpleSecurityObject"], cn="search",
                 userPassword=self.search_password)

    def _client(self, program, text, *options):
        path = self.folder / "root.pass"
        path.touch(mode=0o600)
        path.write_text(self._root_password)
        return run([program, "-x", "-H", self._local, "-D", f"cn=root,{BASE}", "-y", path, *options], folder=self.folder,
                   input=text)

    def add(self, dn, **attributes):
        self._client("ldapadd", ldif(dn, attributes))

    def change(self, dn, **attributes):
        """Replaces these attributes."""
        self._client("ldapmodify", ldif(dn, attributes, "modify"))

    def remove(self, dn):
        self._client("ldapmodify", ldif(dn, {}, "delete"))

    def person(self, name, password, **more):
        """Its distinguished name."""
        dn = f"uid={name},ou=people,{BASE}"
        self.add(dn, **{"objectClass": ["inetOrgPerson"], "uid": name, "cn": name, "sn": name, "userPassword": password,
                        **more})
        return dn

    def group(self, name, *members):
        dn = f"cn={name},ou=groups,{BASE}"
        self.add(dn, objectClass="groupOfNames", cn=name, member=list(members))
        return dn

    def settings(self, password_file, **more):
        """The section [ldap] of a manager that uses it."""
        return {"servers": self.ldaps, "ca_file": self.ca_file, "bind_dn": self.search_dn,
                "bind_password_file": password_file, "base_dn": BASE, **more}


class SambaDomain:
    """A domain controller of Active Directory on an address of its own of the loopback; needs root for port 636.

    Making it costs some ten seconds of processor time."""

    realm, domain = "EXAMPLE.TEST", "EXAMPLE"
    base = BASE

    def __init__(self, authority):
        self._authority = authority
        self._stack = contextlib.ExitStack()
        self.address = f"127.{70 + secrets.randbelow(100)}.{secrets.randbelow(250)}.{1 + secrets.randbelow(250)}"
        self.ca_file = authority.ca_file
        self._password = "Aa1." + secrets.token_urlsafe(16)
        self.search_password = "Aa1." + secrets.token_urlsafe(16)
        self.folder = self.process = None

    @property
    def ldaps(self):
        return f"ldaps://{self.address}"

    @property
    def search_dn(self):
        return f"CN=search,CN=Users,{BASE}"

    def __enter__(self):
        if os.geteuid() != 0:
            raise ServiceError("a domain controller needs root: its ports are below 1024")
        with contextlib.ExitStack() as stack:
            self.folder = stack.enter_context(temporary_folder())
            self._provision()
            self._write_configuration()
            self.start()
            stack.callback(self.stop)
            self.user("search", self.search_password)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _environment(self):
        return clean_environment(self.folder, TDB_NO_FSYNC="1")

    def _provision(self):
        run(["samba-tool", "domain", "provision", f"--realm={self.realm}", f"--domain={self.domain}", "--server-role=dc",
             "--dns-backend=NONE", "--host-name=dc1", f"--host-ip={self.address}", f"--targetdir={self.folder}"],
            folder=self.folder, environment=self._environment(), seconds=400)

    def _write_configuration(self):
        certificate, key = self._authority.issue("dc1", (f"IP:{self.address}",))
        folder = self.folder
        folder.joinpath("run").mkdir()
        path = folder / "dc.conf"
        path.write_text(f"""[global]
netbios name = DC1
realm = {self.realm}
workgroup = {self.domain}
server role = active directory domain controller
server services = ldap
interfaces = {self.address}/8
bind interfaces only = yes
tls cafile = {self.ca_file}
tls certfile = {certificate}
tls keyfile = {key}
private dir = {folder}/private
state directory = {folder}/state
cache directory = {folder}/cache
lock directory = {folder}/run
pid directory = {folder}/run
ncalrpc dir = {folder}/run/ncalrpc
winbindd socket directory = {folder}/run/winbindd
ntp signd socket directory = {folder}/run/ntp
binddns dir = {folder}/bind-dns
log file = {folder}/samba.log
[sysvol]
path = {folder}/state/sysvol
""")
        self._configuration = path

    def start(self):
        argv = ["samba", "-i", "-M", "single", "-s", self._configuration, "-d", "1", "--debug-stdout"]
        self.process = Process(argv, log=self.folder / "log", folder=self.folder, environment=self._environment(),
                               ready=lambda: is_listening(636, self.address), seconds=120)
        self.process.start()

    def stop(self):
        return self.process.stop()

    def _tool(self, *arguments, text=None):
        return run(["samba-tool", *arguments, "-s", self._configuration], folder=self.folder, input=text or "",
                   environment=self._environment())

    def user(self, name, password):
        self._tool("user", "create", name, text=f"{password}\n{password}\n")

    def disable(self, name):
        self._tool("user", "disable", name)

    def expire(self, name):
        """Since a second ago."""
        self._tool("user", "setexpiry", name, "--days=0")

    def group(self, name, *members):
        self._tool("group", "add", name)
        self._tool("group", "addmembers", name, ",".join(members))
        return f"CN={name},CN=Users,{BASE}"

    def settings(self, password_file, **more):
        return {"servers": self.ldaps, "ca_file": self.ca_file, "bind_dn": self.search_dn,
                "bind_password_file": password_file, "base_dn": BASE, "active_directory": "yes", **more}
