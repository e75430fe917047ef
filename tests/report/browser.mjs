// A headless Chromium, and pages that are watched: an error on a page or a request for anything but the file fails the run.
import { chromium } from 'playwright-core';

export const WIDE = { width: 1280, height: 900 };
export const NARROW = { width: 360, height: 740 };

const failures = [];

/** Prints what was checked; `problems` (an array of strings, or false for none) fail the run. */
export const check = (what, problems) => {
  const found = [problems].flat().filter(Boolean);
  console.log(`${found.length ? 'FAILED' : 'ok    '} ${what}`);
  for (const problem of found.slice(0, 20)) console.log(`         ${problem === true ? 'it is not so' : problem}`);
  failures.push(...found);
};

export const failed = () => failures.length;

export const launch = () => chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium' });

/** Opens the report in a context of its own, lets `use` work with the page, and checks what the page did meanwhile. */
export const visit = async (browser, url, what, options, use) => {
  const context = await browser.newContext({ viewport: WIDE, ...options });
  if (options.initScript) await context.addInitScript({ content: options.initScript });
  const page = await context.newPage();
  const trouble = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) trouble.push(`console ${message.type()}: ${message.text()}`);
  });
  page.on('pageerror', (error) => trouble.push(`page error: ${error.message}`));
  page.on('dialog', (dialog) => { trouble.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on('popup', (popup) => trouble.push(`popup: ${popup.url()}`));
  page.on('request', (request) => {
    // What the page saves itself is a blob of it.
    if (request.url() !== url && !/^(data:|blob:null)/.test(request.url())) trouble.push(`request: ${request.url()}`);
  });
  await page.goto(url, { waitUntil: 'load' });
  await use(page);
  if (options.javaScriptEnabled !== false && await page.evaluate(() => window.__pwned !== undefined)) trouble.push('a string of the data ran');
  check(`${what}: no errors, no requests, nothing of the data ran`, trouble);
  await context.close();
};
