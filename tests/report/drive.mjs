// node drive.mjs REPORT.html [--screenshots DIR] [--view VIEW.json]
//
// Opens a report of `dismax audit` in a headless Chromium (Debian's package `chromium`, or the path in CHROMIUM), checks it and
// uses it as a reader would. With --view, the JSON that the template was given, every string of it must be shown, and a part of
// every kind (gallery, pair, heat map, numeric and text column) must have been there to drive; view.json has them all.
// Exit code 1 if anything failed, 2 if it could not run.
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { NARROW, WIDE, check, failed, launch, visit } from './browser.mjs';
import { axe, fits, headings, ours, policy, shows } from './checks.mjs';
import { galleries, heatmaps, links, sorting } from './use.mjs';

const arguments_ = () => {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { screenshots: { type: 'string' }, view: { type: 'string' } } });
  if (positionals.length !== 1) throw new Error('usage: node drive.mjs REPORT.html [--screenshots DIR] [--view VIEW.json]');
  return { report: resolve(positionals[0]), screenshots: values.screenshots, view: values.view && JSON.parse(readFileSync(values.view, 'utf8')) };
};

const drive = async ({ report, screenshots, view }) => {
  const url = pathToFileURL(report).href;
  const initScript = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
  if (screenshots) mkdirSync(screenshots, { recursive: true });
  const picture = async (page, name, fullPage = true) => {
    if (screenshots) await page.screenshot({ path: join(screenshots, `${name}.png`), fullPage });
  };
  const openFirst = async (page) => {
    const button = await page.$('.item button');
    if (!button) return;
    await button.evaluate((each) => each.scrollIntoView({ block: 'center', behavior: 'instant' }));
    await button.focus();
    await page.waitForTimeout(200);
  };

  policy(readFileSync(report, 'utf8'));
  const browser = await launch();
  try {
    await visit(browser, url, 'wide', { initScript }, async (page) => {
      await picture(page, 'wide');
      await ours(page);
      await headings(page);
      await fits(page, 'wide');
      check('there are a verdict and sections', !await page.$('.verdict p') || !await page.$('main > section'));
      if (view) await shows(page, view);
      await axe(page, 'wide');
      await links(page);
      const columns = await sorting(page);
      const items = await galleries(page, false);
      const maps = await heatmaps(page);
      await ours(page);
      if (view) check('a part of every kind was there to drive', !(columns.numeric && columns.text && items && maps && await page.$('.pairs')));
      await page.evaluate(() => scrollTo({ top: 0, behavior: 'instant' }));
      await openFirst(page);
      await axe(page, 'wide, details open');
      await picture(page, 'wide-details', false);
    });
    await visit(browser, url, 'dark', { initScript, colorScheme: 'dark' }, async (page) => {
      await picture(page, 'dark');
      check('dark: the page is dark', await page.evaluate(() => !/^rgb\([1-5]?\d,/.test(getComputedStyle(document.documentElement).backgroundColor)));
      await axe(page, 'dark');
      await openFirst(page);
      await axe(page, 'dark, details open');
      await picture(page, 'dark-details', false);
    });
    await visit(browser, url, 'narrow', { initScript, viewport: NARROW, hasTouch: true, isMobile: true }, async (page) => {
      await picture(page, 'narrow');
      await fits(page, 'narrow');
      await axe(page, 'narrow');
      await galleries(page, true);
      await fits(page, 'narrow, after use');
      await openFirst(page);
      await axe(page, 'narrow, details open');
      await picture(page, 'narrow-details', false);
    });
    await visit(browser, url, 'reduced motion', { reducedMotion: 'reduce' }, async (page) => {
      const button = await page.$('.item button');
      if (button) await button.focus();
      check('reduced motion: nothing moves', await page.evaluate(() => document.getAnimations().length > 0
        || getComputedStyle(document.documentElement).scrollBehavior === 'smooth'));
    });
    await visit(browser, url, 'no script', { javaScriptEnabled: false }, async (page) => {
      await picture(page, 'no-script');
      check('no script: details are shown, and no button does nothing', [await page.locator('button').count() > 0 && 'there is a button',
        ...(await Promise.all((await page.locator('.details').all()).map((each) => each.isVisible()))).map((shown) => !shown && 'details are hidden')]);
    });
    // A dark desktop must not print dark. 690 pixels are what A4 leaves between its margins.
    await visit(browser, url, 'print', { colorScheme: 'dark', viewport: { width: 690, height: 1000 } }, async (page) => {
      await openFirst(page);
      await page.emulateMedia({ media: 'print', colorScheme: 'dark' });
      await picture(page, 'print');
      await fits(page, 'print');
      const wrong = await page.evaluate(() => {
        const found = [...document.querySelectorAll('body *')].filter((each) => ['sticky', 'fixed'].includes(getComputedStyle(each).position))
          .map((each) => `${each.localName}.${each.className} does not move with the page`);
        if ([...document.querySelectorAll('.details dl')].some((each) => !each.checkVisibility())) found.push('details of a gallery are hidden');
        if ([...document.querySelectorAll('.scroll')].some((each) => getComputedStyle(each).overflowX !== 'visible')) found.push('a table is cut off');
        if (!/^rgb\([1-5]?\d,/.test(getComputedStyle(document.body).color)) found.push('the text is pale');
        return found;
      });
      check('print: nothing is sticky, hidden or cut off, and ink is dark', wrong);
      if (screenshots) await page.pdf({ path: join(screenshots, 'print.pdf'), format: 'A4', preferCSSPageSize: true });
    });
  } finally {
    await browser.close();
  }
};

try {
  await drive(arguments_());
  console.log(failed() ? `${failed()} problems` : 'all checks passed');
  process.exitCode = failed() ? 1 : 0;
} catch (error) {
  console.error(error.message);
  process.exitCode = failed() ? 1 : 2;
}
