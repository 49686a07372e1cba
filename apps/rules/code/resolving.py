"""From the entries of a document to rules, checked by the serializer of the API: one validation for both."""

from typing import Any

from apps.devices.models import Device, DeviceType
from apps.rules.api.serializers import RuleSerializer
from apps.rules.code.documents import Document, Entry
from apps.rules.code.form import Templates, plain
from apps.rules.code.yaml_lines import DocumentError, Path, Problem
from apps.rules.models import Rule
from apps.users.models import User

# What a rule is where its document says nothing.
UNSAID = {"description": "", "schedule": None, "severity_after": list, "action_config": list}


class _Wrong(Exception):
    def __init__(self, field: str, message: str):
        super().__init__(message)
        self.field = field


def rules_of(document: Document, templates: Templates) -> list[tuple[Entry, Rule]]:
    """Each entry and the unsaved rule that it describes. Raises DocumentError with all problems at once."""
    resolver = _Resolver(document, templates)
    found = [(entry, resolver.rule(entry)) for entry in document.entries]
    if resolver.problems:
        raise DocumentError(resolver.problems)
    return found


class _Resolver:
    def __init__(self, document: Document, templates: Templates):
        self.document = document
        self.templates = templates
        self.problems: list[Problem] = []
        self._users: dict[str, User | None] = {}
        self._seen: dict[tuple, int] = {}
        if document.owner is not None and self._user(document.owner) is None:
            self.problems.append(document.problem(("owner",), f"owner: There is no user {document.owner!r}."))

    def rule(self, entry: Entry) -> Rule | None:
        try:
            fields = dict(entry.fields)
            owner = self._owner(fields)
            fields |= self._subject(fields, owner)
            device = fields.pop("device_row", None)
            owner = device.owner if device else owner
            fields["action_config"] = self._actions(fields.get("action_config"), owner, entry.path)
        except _Wrong as error:
            self._complain(entry.path, (error.field,), str(error))
            return None
        return self._checked(entry, {name: value for name, value in fields.items() if name != "owner"}, owner)

    def _checked(self, entry: Entry, fields: dict, owner: User | None) -> Rule | None:
        serializer = RuleSerializer(data=plain(fields), context={"user": owner})
        if not serializer.is_valid():
            for path, message in _flat(serializer.errors):
                self._complain(entry.path, path, message)
            return None
        unsaid = {name: value() if callable(value) else value for name, value in UNSAID.items()}
        rule = Rule(**unsaid | serializer.validated_data, owner=owner, code_key=entry.key)
        self._refuse_twice(entry, owner)
        return rule

    def _refuse_twice(self, entry: Entry, owner: User | None) -> None:
        """Two entries that name no owner may still belong to the same one, as their devices do."""
        known = (owner.pk if owner else None, entry.key)
        line = self.document.lines[entry.path]
        if known in self._seen:
            self._complain(entry.path, ("key",), f"{entry.key} is there already, on line {self._seen[known]}.")
        self._seen.setdefault(known, line)

    def _complain(self, place: Path, path: Path, message: str) -> None:
        told = ".".join(str(part) for part in path)
        self.problems.append(self.document.problem((*place, *path), f"{told}: {message}" if told else message))

    def _user(self, name: str) -> User | None:
        if name not in self._users:
            self._users[name] = User.objects.filter(username=name).first()
        return self._users[name]

    def _owner(self, fields: dict) -> User | None:
        name = fields.get("owner", self.document.owner)
        if name is None:
            return None
        user = self._user(name) if isinstance(name, str) else None
        if user is None and "owner" in fields:
            raise _Wrong("owner", f"There is no user {name!r}.")
        return user

    def _subject(self, fields: dict, owner: User | None) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if fields.get("device") is not None:
            device = found["device_row"] = self._device(fields["device"], owner)
            found["device"] = str(device.pk)
        if fields.get("device_type") is not None:
            name = fields["device_type"]
            device_type = DeviceType.objects.filter(name=name).first() if isinstance(name, str) else None
            if device_type is None:
                raise _Wrong("device_type", f"There is no device type {name!r}.")
            found["device_type"] = str(device_type.pk)
        return found

    def _device(self, serial_number: Any, owner: User | None) -> Device:
        devices = Device.objects.select_related("owner")
        if not isinstance(serial_number, str):
            raise _Wrong("device", "A serial number is needed here; write it in quotes if it is made of digits.")
        if owner is not None:
            devices = devices.filter(owner=owner)
        device = devices.filter(serial_number=serial_number).first()
        if device is None:
            of_whom = f" of {owner.username}" if owner else ""
            raise _Wrong("device", f"There is no device {serial_number!r}{of_whom}.")
        return device

    def _actions(self, actions: Any, owner: User | None, place: Path) -> Any:
        """`template: NAME` becomes `template_id`."""
        if not isinstance(actions, list):
            return [] if actions is None else actions
        return [
            self._action(action, owner, (*place, "action_config", index)) if isinstance(action, dict) else action
            for index, action in enumerate(actions)
        ]

    def _action(self, action: dict, owner: User | None, place: Path) -> dict:
        if "template" not in action:
            return action
        name, owner_id = action["template"], owner.pk if owner else None
        template_id = self.templates.id_of(name, owner_id) if isinstance(name, str) else None
        if template_id is None:
            message = f"{place[-2]}.{place[-1]}.template: There is no template {name!r} that the rule's owner may use."
            self.problems.append(self.document.problem((*place, "template"), message))
        return {
            ("template_id" if key == "template" else key): template_id if key == "template" else value
            for key, value in action.items()
        }


def _flat(detail: Any, path: Path = ()):
    """REST framework's nested errors as (path, message)."""
    if isinstance(detail, dict):
        for key, value in detail.items():
            part = int(key) if isinstance(key, str) and key.isdigit() else key
            yield from _flat(value, path if key == "non_field_errors" else (*path, part))
    elif isinstance(detail, list):
        for value in detail:
            yield from _flat(value, path)
    else:
        yield path, str(detail)
