// A browser for tests of pages.

import { chromium } from 'playwright-core';

/** Chromium at `CHROMIUM`, or where Debian has it, that does nothing by itself; with further flags. */
export function launch(...flags) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      ...flags,
    ],
  });
}
