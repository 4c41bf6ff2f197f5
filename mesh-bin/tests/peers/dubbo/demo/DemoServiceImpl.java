package demo;

import java.math.BigDecimal;
import java.time.LocalDateTime;
import java.util.ArrayList;
import java.util.Date;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.dubbo.rpc.RpcContext;

public class DemoServiceImpl implements DemoService {
    private final AtomicInteger calls = new AtomicInteger();

    public String sayHello(String name) {
        return "Hello " + name;
    }

    public int add(int a, int b) {
        return a + b;
    }

    public long addLong(long a, Long b) {
        return a + b;
    }

    public double half(double value) {
        return value / 2;
    }

    public boolean not(boolean value) {
        return !value;
    }

    public void nothing() {}

    public String nullString() {
        return null;
    }

    public User getUser(int id) {
        User boss = new User("boss", 50, Color.RED, null, null, null);
        // somebody's own boss: a cycle
        boss.setBoss(boss);
        Map<String, Object> extra = new TreeMap<>();
        extra.put("id", id);
        extra.put("long", 1L << 40);
        return new User("user" + id, id, Color.GREEN, new ArrayList<>(List.of("a", "b")), boss, extra);
    }

    public String describeUser(User user) {
        return String.valueOf(user);
    }

    public User[] userArray(User[] users) {
        return users;
    }

    public List<User> friends(List<User> users, int years) {
        for (User user : users) {
            user.setName(user.getName() + "!");
            user.setAge(user.getAge() + years);
        }
        return users;
    }

    public Map<String, Object> echoMap(Map<String, Object> map) {
        return map;
    }

    public Object echo(Object value) {
        return value;
    }

    public byte[] reverse(byte[] bytes) {
        byte[] reversed = new byte[bytes.length];
        for (int i = 0; i < bytes.length; i++) {
            reversed[i] = bytes[bytes.length - 1 - i];
        }
        return reversed;
    }

    public int sum(int[] numbers) {
        int sum = 0;
        for (int number : numbers) {
            sum += number;
        }
        return sum;
    }

    public int overload(int value) {
        return 1;
    }

    public int overload(String value) {
        return 2;
    }

    public String fail(String why) throws DemoException {
        throw new DemoException(why);
    }

    public String failRuntime(String why) {
        throw new IllegalStateException(why);
    }

    public BigDecimal dec(BigDecimal value) {
        return value.add(BigDecimal.ONE);
    }

    public Color color(Color value) {
        return value == Color.RED ? Color.GREEN : Color.RED;
    }

    public Date when(Date value) {
        return new Date(value.getTime() + 1000);
    }

    public LocalDateTime ldt(LocalDateTime value) {
        return value.plusDays(1);
    }

    public String sleep(int millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
        return "slept";
    }

    public String big(int length) {
        return "x".repeat(length);
    }

    public Map<String, String> attachmentsSeen() {
        return new TreeMap<>(RpcContext.getContext().getAttachments());
    }

    public CompletableFuture<String> async(String name) {
        return CompletableFuture.supplyAsync(() -> "async " + name);
    }

    public void count() {
        calls.incrementAndGet();
    }

    public int counted() {
        return calls.get();
    }
}
