// User agents of autumn 2026, by rough share of real traffic: a desktop browser twice, say,
// where a console comes once. Two are bots, which a collector flags and keeps.
const CHROME = 'AppleWebKit/537.36 (KHTML, like Gecko) Chrome';
const MOBILE_SAFARI = 'AppleWebKit/605.1.15 (KHTML, like Gecko) Version';
const IPHONE = 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X)';
const WINDOWS = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64';
const MAC = 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)';

export const USER_AGENTS = [
  `${WINDOWS}) ${CHROME}/156.0.0.0 Safari/537.36`,
  `${WINDOWS}) ${CHROME}/155.0.0.0 Safari/537.36`,
  `${WINDOWS}) ${CHROME}/156.0.0.0 Safari/537.36 Edg/156.0.0.0`,
  `${WINDOWS}) ${CHROME}/154.0.0.0 Safari/537.36 OPR/138.0.0.0`,
  `${WINDOWS}; rv:153.0) Gecko/20100101 Firefox/153.0`,
  `${MAC} ${CHROME}/156.0.0.0 Safari/537.36`,
  `${MAC} ${MOBILE_SAFARI}/26.1 Safari/605.1.15`,
  `${MAC} ${MOBILE_SAFARI}/18.6 Safari/605.1.15`,
  'Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:153.0) Gecko/20100101 Firefox/153.0',
  `Mozilla/5.0 (X11; Linux x86_64) ${CHROME}/156.0.0.0 Safari/537.36`,
  'Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0',
  `Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) ${CHROME}/155.0.0.0 Safari/537.36`,
  `Mozilla/5.0 (Linux; Android 10; K) ${CHROME}/156.0.0.0 Mobile Safari/537.36`,
  `Mozilla/5.0 (Linux; Android 10; K) ${CHROME}/155.0.0.0 Mobile Safari/537.36`,
  `Mozilla/5.0 (Linux; Android 10; K) ${CHROME}/156.0.0.0 Safari/537.36`,
  `Mozilla/5.0 (Linux; Android 10; K) ${CHROME.replace(' Chrome', '')} ` +
    'SamsungBrowser/29.0 Chrome/136.0.0.0 Mobile Safari/537.36',
  'Mozilla/5.0 (Android 15; Mobile; rv:153.0) Gecko/153.0 Firefox/153.0',
  `${IPHONE} ${MOBILE_SAFARI}/26.1 Mobile/15E148 Safari/604.1`,
  `${IPHONE} ${MOBILE_SAFARI}/18.6 Mobile/15E148 Safari/604.1`,
  `${IPHONE} ${MOBILE_SAFARI.replace(' Version', '')} CriOS/156.0.0.0 Mobile/15E148 Safari/604.1`,
  `Mozilla/5.0 (iPad; CPU OS 18_7 like Mac OS X) ${MOBILE_SAFARI}/26.1 Mobile/15E148 Safari/604.1`,
  `Mozilla/5.0 (SMART-TV; Linux; Tizen 8.0) ${CHROME}/120.0.0.0 TV Safari/537.36`,
  'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)',
  'Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; ' +
    '+https://openai.com/gptbot)',
];
