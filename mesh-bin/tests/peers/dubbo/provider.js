// Serves a part of the service with sofa-rpc-node until its standard input ends: `provider.js PORT`.
const { RpcServer } = require('sofa-rpc-node').server;
const protocol = require('dubbo-remoting');

const quiet = { info() {}, warn() {}, error() {}, debug() {}, log() {} };
const server = new RpcServer({ logger: quiet, port: Number(process.argv[2]), protocol, version: '0.0.0' });
server.addService({ interfaceName: 'demo.DemoService', version: '0.0.0', group: '' }, {
  async sayHello(name) { return `Hello ${name}`; },
  async add(a, b) { return a + b; },
  async half(value) { return value / 2; },
  async not(value) { return !value; },
  async nothing() {},
  async nullString() { return null; },
  async getUser(id) { return { $class: 'demo.User', $: { name: { $class: 'java.lang.String', $: `user${id}` }, age: { $class: 'int', $: id } } }; },
  async describeUser(user) { return user && `${user.name}:${user.age}`; },
  async friends(users, years) { return users.map((user) => ({ ...user, name: `${user.name}!`, age: user.age + years })); },
  async echoMap(map) { return map; },
  async fail(why) { throw new Error(why); },
  async failRuntime(why) { throw new Error(why); },
  async big(length) { return 'x'.repeat(length); },
});
server.start().then(() => console.log('ready'));
process.stdin.on('end', () => process.exit(0)).resume();
