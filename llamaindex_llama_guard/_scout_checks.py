"""What can be asked about Scout at its host, apart from replies."""

from __future__ import annotations

from llama_guard_core.provider.capabilities import ModelCapabilities, acapabilities_of, capabilities_of
from llama_guard_core.self_test.chat_probes import aself_test_of, self_test_of
from llama_guard_core.self_test.report import SelfTest
from llamaindex_llama_guard._scout_settings import ScoutSettings


class ScoutChecks(ScoutSettings):
    """Scout's settings, with what its host says of the model and what a test of it finds."""

    def capabilities(self) -> ModelCapabilities:
        """What the preferred host says of the model: sizes in tokens, prices, parameters, OpenRouter's providers.

        It is asked now and not remembered: one request, two at OpenRouter.

        Raises:
            RequestRejected: with the reason `not_found`, if the host does not list the model.
            ProviderError: if the host cannot be asked.
        """
        return capabilities_of(self._sync())

    async def acapabilities(self) -> ModelCapabilities:
        """What the preferred host says of the model; see `capabilities`."""
        return await acapabilities_of(self._async())

    def self_test(self) -> SelfTest:
        """Try what an application needs of each host: streams, tools, schemas, images, token counts, finish reasons.

        Eight small requests a host with this model's settings, and without its guard. Print what comes of it.

        Raises:
            ConfigurationError: if there is no key. A host that fails is a finding.
        """
        return self_test_of(self._sync(), self._settings)

    async def aself_test(self) -> SelfTest:
        """Try what an application needs of each host; see `self_test`."""
        return await aself_test_of(self._async(), self._settings)
