struct Base {
    int number;
    explicit Base(int n) : number(n) {}
    virtual ~Base() {}
};
struct Problem : Base {
    explicit Problem(int n) : Base(n) {}
    ~Problem() override;
};
