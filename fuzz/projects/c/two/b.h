#define B 3
