from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction

from apps.users.models import User


def create_user(*, username: str, email: str, password: str, **fields) -> User:
    """An account that can log in. Raises ValidationError at `password` if it is too easy to guess."""
    user = User(username=username, email=email, **fields)
    _set_password(user, password)
    with transaction.atomic():
        user.save()
    return user


def update_user(*, user: User, password: str | None = None, **changes) -> User:
    """A new password or `is_active=False` ends the account's sessions and tokens at once."""
    with transaction.atomic():
        # Only what changes is written: a login may be setting `last_login` at this moment.
        user = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        for name, value in changes.items():
            setattr(user, name, value)
        if password is not None:
            _set_password(user, password)
        user.save()
    return user


def _set_password(user: User, password: str) -> None:
    try:
        validate_password(password, user)
    except ValidationError as refusal:
        raise ValidationError({"password": refusal.error_list}) from refusal
    user.set_password(password)
