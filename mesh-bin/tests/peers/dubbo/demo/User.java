package demo;

import java.io.Serializable;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

public class User implements Serializable {
    private String name;
    private int age;
    private Color color;
    private List<String> tags;
    private User boss;
    private Map<String, Object> extra;

    public User() {}

    public User(String name, int age, Color color, List<String> tags, User boss, Map<String, Object> extra) {
        this.name = name;
        this.age = age;
        this.color = color;
        this.tags = tags;
        this.boss = boss;
        this.extra = extra;
    }

    public String getName() {
        return name;
    }

    public void setName(String name) {
        this.name = name;
    }

    public int getAge() {
        return age;
    }

    public void setAge(int age) {
        this.age = age;
    }

    public Color getColor() {
        return color;
    }

    public void setColor(Color color) {
        this.color = color;
    }

    public List<String> getTags() {
        return tags;
    }

    public void setTags(List<String> tags) {
        this.tags = tags;
    }

    public User getBoss() {
        return boss;
    }

    public void setBoss(User boss) {
        this.boss = boss;
    }

    public Map<String, Object> getExtra() {
        return extra;
    }

    public void setExtra(Map<String, Object> extra) {
        this.extra = extra;
    }

    @Override
    public String toString() {
        String boss = this.boss == null ? "null" : this.boss == this ? "itself" : this.boss.name;
        return name + ":" + age + ":" + color + ":" + tags + ":" + boss + ":" + (extra == null ? "null" : new TreeMap<>(extra));
    }
}
