#define C 4
