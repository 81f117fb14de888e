"""Fault plans: which of them applies to a call, and how often each has struck."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Any

import msgspec

from airflow_batches.emulator.faults import ANY, Fault


class Plan:
    """One added fault; `struck` counts the calls that it has hit."""

    def __init__(self, plans: Plans, plan_id: str, fault: Fault) -> None:
        self._plans = plans
        self.id = plan_id
        self.fault = fault
        self.seen = 0
        self.struck = 0

    def __repr__(self) -> str:
        return f"<Plan {self.id}: {self.fault.action} at {self.fault.endpoint}, struck {self.struck}>"

    @property
    def exhausted(self) -> bool:
        return self.fault.times is not None and self.struck >= self.fault.times

    def delete(self) -> None:
        """Remove the plan, so that no further call is hit. `struck` stays readable."""
        self._plans.remove(self.id)

    def as_dict(self) -> dict[str, Any]:
        return {"id": self.id, "struck": self.struck, **msgspec.to_builtins(self.fault)}

    def matches(self, endpoint: str, batch_id: str) -> bool:
        fault = self.fault
        return fault.endpoint in (endpoint, ANY) and fault.batch_id in (None, batch_id)


class Plans:
    """All plans of an emulator, oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plans: dict[str, Plan] = {}
        self._made = 0

    def add(self, fault: Fault) -> Plan:
        with self._lock:
            self._made += 1
            plan = Plan(self, f"fault_{self._made}", fault)
            self._plans[plan.id] = plan
            return plan

    def claim(self, actions: Collection[str], endpoint: str, batch_id: str) -> Fault | None:
        """Return the fault that strikes this call with one of these actions, and count it."""
        with self._lock:
            for plan in self._plans.values():
                if plan.fault.action in actions and not plan.exhausted and plan.matches(endpoint, batch_id):
                    plan.seen += 1
                    if plan.seen > plan.fault.skip:
                        plan.struck += 1
                        return plan.fault
            return None

    def get(self, plan_id: str) -> Plan | None:
        with self._lock:
            return self._plans.get(plan_id)

    def all(self) -> list[Plan]:
        with self._lock:
            return list(self._plans.values())

    def remove(self, plan_id: str) -> bool:
        with self._lock:
            return self._plans.pop(plan_id, None) is not None

    def clear(self) -> None:
        with self._lock:
            self._plans.clear()
