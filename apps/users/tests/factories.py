import factory
from django.contrib.auth.hashers import PBKDF2PasswordHasher

from apps.users.models import User


class UserFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = User
        skip_postgeneration_save = True

    username = factory.Sequence(lambda n: f"user{n}")
    email = factory.LazyAttribute(lambda user: f"{user.username}@example.com")
    # A real hash of "a-Long-passw0rd", made with one round: hashing is most of what a test would wait for.
    password = PBKDF2PasswordHasher().encode("a-Long-passw0rd", "salt", iterations=1)
