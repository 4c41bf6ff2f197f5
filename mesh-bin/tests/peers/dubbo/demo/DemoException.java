package demo;

public class DemoException extends Exception {
    private int code = 7;

    public DemoException(String message) {
        super(message);
    }

    public int getCode() {
        return code;
    }

    public void setCode(int code) {
        this.code = code;
    }
}
