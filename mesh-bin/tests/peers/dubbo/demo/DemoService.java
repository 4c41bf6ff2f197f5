package demo;

import java.math.BigDecimal;
import java.time.LocalDateTime;
import java.util.Date;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;

/** A service with a method for each kind of value and of result. */
public interface DemoService {
    String sayHello(String name);

    int add(int a, int b);

    long addLong(long a, Long b);

    double half(double value);

    boolean not(boolean value);

    void nothing();

    String nullString();

    User getUser(int id);

    String describeUser(User user);

    User[] userArray(User[] users);

    List<User> friends(List<User> users, int years);

    Map<String, Object> echoMap(Map<String, Object> map);

    Object echo(Object value);

    byte[] reverse(byte[] bytes);

    int sum(int[] numbers);

    int overload(int value);

    int overload(String value);

    String fail(String why) throws DemoException;

    String failRuntime(String why);

    BigDecimal dec(BigDecimal value);

    Color color(Color value);

    Date when(Date value);

    LocalDateTime ldt(LocalDateTime value);

    String sleep(int millis);

    String big(int length);

    Map<String, String> attachmentsSeen();

    CompletableFuture<String> async(String name);

    /** Called one-way; how often it has been called. */
    void count();

    int counted();
}
