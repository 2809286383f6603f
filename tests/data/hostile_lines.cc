#include "tests/data/hostile_lines.h"

#include <algorithm>
#include <random>

namespace moe {
namespace {

const std::vector<std::string>& Fixed() {
  static const auto& lines = *new std::vector<std::string>{
      "",
      " ",
      "  ",
      "\t",
      "\t\t x",
      "a\r",
      "\r",
      std::string(1, '\0'),
      std::string("a\0b", 3),
      "\xE2\x96\x81",
      "\xE2\x96\x81 \xE2\x96\x81"
      "b",
      "\x80",
      "\xBF\xBF",
      "\xC0\x80",
      "\xE0\x80\x80",
      "\xF0\x80\x80\x80",
      "\xED\xA0\x80\xED\xB0\x80",
      "\xEF\xBF\xBD",
      "\xFF\xFE",
      "\xF4\x90\x80\x80",
      "\xE2\x96",
      "\xE2",
      "x\xE2\x96",
      "\xE2\x96\x85",
      "\xEF\xBB\xBFmark",
      "<s> </s> <unk> <0x41>",
      "<unk><unk>",
      " e\xCC\x81\xCC\x82 \xCC\x80"
      "a",
      "\xD7\xA9\xD7\x9C\xD7\x95\xD7\x9D \xD9\x85\xD8\xB1\xD8\xAD",
      "\xF0\x9F\x91\xA8\xE2\x80\x8D\xF0\x9F\x91\xA9 "
      "\xF0\x9F\x8F\xB3\xEF\xB8\x8F",
      "\xE6\xBC\xA2\xE5\xAD\x97\xE3\x81\x8B\xE3\x81\xAA \xED\x95\x9C",
      "\xC2\xA0\xE3\x80\x80\xE2\x80\x83x",
      " leading",
      "trailing ",
      "  both  ",
      "a  b   c    d     e",
      "2024 10000000000000",
      std::string(5000, '-'),
      std::string(1 << 20, 'a'),
      std::string(200000, ' ')};
  return lines;
}

}  // namespace

std::vector<std::string> HostileLines(const std::string& text, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::string> lines = Fixed();
  const std::vector<std::string> bits = {" ",
                                         " ",
                                         "a",
                                         "e",
                                         "the",
                                         "ing",
                                         "ka",
                                         "lo",
                                         "\xE2\x96\x81",
                                         "\xE2",
                                         "\x96",
                                         "\x81",
                                         "\xC3\xA9",
                                         "\xF0\x9F\xA4\x97",
                                         "\t",
                                         "0",
                                         "1",
                                         "<",
                                         "s",
                                         ">",
                                         std::string(1, '\0'),
                                         "\xFF",
                                         ",",
                                         ".",
                                         "--",
                                         "'",
                                         "\xE6\xBC\xA2",
                                         "\xCC\x81",
                                         "\xE2\x80\x8D",
                                         "\r"};
  for (int i = 0; i < 1500; ++i) {
    std::string& line = lines.emplace_back();
    for (size_t n = random() % 60; n > 0; --n) {
      line += bits[random() % bits.size()];
    }
  }
  for (int i = 0; i < 1000; ++i) {
    std::string line = text.substr(random() % text.size(), random() % 300);
    for (size_t n = random() % 8; n > 0 && !line.empty(); --n) {
      line[random() % line.size()] = static_cast<char>(random());
    }
    std::replace(line.begin(), line.end(), '\n', ' ');
    lines.push_back(line);
  }
  for (int i = 0; i < 150; ++i) {
    lines.push_back(std::string(random() % 40, ' ') + "x" +
                    std::string(random() % 70, ' ') + "y");
  }
  return lines;
}

}  // namespace moe
