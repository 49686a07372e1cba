"""The accounts. Their passwords are public: they are for hubs that nobody else can reach."""

from dataclasses import dataclass

from apps.users.models import User


@dataclass(frozen=True, slots=True)
class Person:
    username: str
    password: str
    role: str
    first_name: str
    last_name: str

    @property
    def email(self) -> str:
        return f"{self.username}@example.com"


ADMIN = Person("dev_admin", "DevSecurePass", User.Role.ADMIN, "Dana", "Admin")
ALEX = Person("alex_client", "ClientAccess1", User.Role.CLIENT, "Alex", "Miller")
JORDAN = Person("jordan_client", "ClientAccess2", User.Role.CLIENT, "Jordan", "Reyes")

PEOPLE = [ADMIN, ALEX, JORDAN]
USERNAMES = [person.username for person in PEOPLE]
