// Chromium without any traffic of its own.
import { pathToFileURL } from 'node:url';

export async function launched(modules, executablePath) {
  const { chromium } = (await import(pathToFileURL(`${modules}/playwright-core/index.js`))).default;
  return chromium.launch({
    executablePath,
    args: ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  });
}
