"""Texts for subscribers in Turkish. For keys and placeholders see texts.notice.

Knows words. Must not know when they are used.
"""

TEXTS = {
    "provider_first": "İnternet sağlayıcınız",
    "provider": "internet sağlayıcınız",
    "months": "Ocak Şubat Mart Nisan Mayıs Haziran Temmuz Ağustos Eylül Ekim Kasım Aralık",
    "moment": "{day} {month} {year}, {hour}:{minute}",
    # ── the responder ──
    "refusal": "Bu iletiyi alici degil, {provider} reddetti: Bu hattan baska posta sunucularina dogrudan e-posta "
    "gonderilemez. Lutfen e-posta hizmetinizin sunucusu uzerinden gonderin (port 587 veya 465).",
    # ── the page and the mail ──
    "standing_compromised": "Bu cihaz, spam programlarının yaptığı gibi e-posta gönderiyor. Cihaza büyük olasılıkla "
    "zararlı yazılım bulaşmış. Kullanıcılar bunu genellikle fark etmez.",
    "first": "İlk fark edilme",
    "last": "Son fark edilme",
    "h_blocked": "Engellenenler",
    "h_limited": "Yavaşlatılanlar",
    "blocked_block": "Bu cihazın başka posta sunucularına doğrudan gönderdiği e-postalar (port 25).",
    "blocked_monitor": "Hiçbir şey. Filtre yalnızca izliyor.",
    "h_works": "Çalışmaya devam edenler",
    "works": "Bu cihazdaki diğer her şey: web siteleri, video, web üzerinden e-posta ve e-posta hizmetiniz "
    "aracılığıyla gönderilen e-postalar (port 587 ve 465). Diğer cihazlarınız için hiçbir şey değişmez.",
    "h_steps": "Yapmanız gerekenler: üç adım",
    "step_1": "Cihazın internet bağlantısını kesin: ağ kablosunu çıkarın veya Wi-Fi bağlantısını kapatın. Cihazın adı "
    "ve donanım adresi, onu bulmanıza yardımcı olur.",
    "step_2": "Cihazı temizleyin: tüm güncellemeleri yükleyin, tanımadığınız programları kaldırın ve cihazı bir virüs "
    "tarayıcısıyla taratın. TV kutusu, kamera veya benzeri bir cihazsa fabrika ayarlarına döndürün ve yeni bir parola "
    "belirleyin.",
    "step_3": "Temizlendiğini bildirin: modem ayarlarında “Posta filtresi” bölümünde “Bu cihazı temizledim” seçeneğini "
    "seçin veya sağlayıcınıza ({provider}) haber verin.",
    "step_3_here": "Temizlendiğini bildirin: bu sayfada “{answer}” seçeneğini seçin.",
    "then_free": "Bundan sonra cihaz yeniden kendisi e-posta gönderebilir; filtre onu izlemeye devam eder.",
    "then_block": "Bundan sonra cihaz temiz sayılır; filtre onu izlemeye devam eder. Tüm cihazlarınızda olduğu gibi, "
    "e-postalar yine yalnızca e-posta hizmetiniz üzerinden gönderilebilir (port 587 ve 465).",
    "then_watch": "Bundan sonra cihaz temiz sayılır; filtre onu izlemeye devam eder.",
    "h_own": "Kendi posta sunucunuz mu var?",
    "own": "O halde cihazın kendisinin e-posta göndermesine izin verin: modem ayarlarında “Posta filtresi” bölümünde "
    "“Bu benim posta sunucum” seçeneğini seçin veya sağlayıcınıza ({provider}) haber verin.",
    "h_object": "İtiraz etmek isterseniz",
    "object": "Dilediğiniz zaman itiraz edebilirsiniz. Sağlayıcınıza ({provider}) başvurun; cihazı ve burada yazan "
    "zamanları belirtin.",
    "help": "Yardım ve itiraz:",
    # ── the page ──
    "title": "Cihazlarınız ve e-posta",
    "h_action_one": "İlgilenmeniz gereken bir cihaz var",
    "h_action_many": "İlgilenmeniz gereken {count} cihaz var",
    "h_none": "Yapmanız gereken bir şey yok",
    "lead_action": "Zararlı yazılım bulaşmış cihazlar hattınızdan spam gönderemesin diye bu modemde bir posta filtresi "
    "çalışıyor. Filtreyi sunan: {provider}. Filtre, ilgilenmeniz gereken bir durum buldu.",
    "lead_none": "Zararlı yazılım bulaşmış cihazlar hattınızdan spam gönderemesin diye bu modemde bir posta filtresi "
    "çalışıyor. Filtreyi sunan: {provider}. Filtre, ilgilenmeniz gereken bir durum bulmadı.",
    "lead_question": "Zararlı yazılım bulaşmış cihazlar hattınızdan spam gönderemesin diye bu modemde bir posta "
    "filtresi çalışıyor. Filtreyi sunan: {provider}. Filtre, engellemesi gereken bir şey bulmadı; ancak size bir "
    "sorusu var.",
    "action": "İşlem gerekli",
    "no_action": "İşlem gerekmiyor",
    "since": "{time} tarihinden beri",
    "h_question": "Bu sizin posta sunucunuz mu?",
    "standing_unusual": "Bu cihaz bir posta sunucusu gibi e-posta gönderiyor. Üzerinde bir posta sunucusu "
    "çalıştırıyorsanız ona izin verin; filtre ona dokunmaz. Çalıştırmıyorsanız cihazdaki bir program bilginiz dışında "
    "e-posta gönderiyor olabilir: cihazı kontrol edin.",
    "standing_clear": "Olağan dışı bir durum yok.",
    "released": "Bu cihazın temizlendiği bildirildi ({time}). Filtre onu bir süre daha izler.",
    "cleared": "Sorun giderildi ({time}): filtre bu cihazda artık bir sorun görmüyor.",
    "h_noticed": "Fark edilenler",
    "h_connections": "Başka posta sunucularına bağlantılar",
    "connections": "{count}, reddedilen: {refused}",
    "unnamed": "Adsız cihaz",
    "router": "Modemin kendisi",
    "home": "Evinizdeki bilinmeyen bir cihaz",
    "behind": "Başka bir modemin arkasında",
    "maker": "Üretici kodu {oui}",
    "random": "Rastgele donanım adresi",
    "tail": "Donanım adresinin sonu {tail}",
    "step_router": "Bu, modemin kendisi. Lütfen sağlayıcınıza ({provider}) haber verin: modemin güncellenmesi veya "
    "değiştirilmesi gerekiyor.",
    "step_home": "Filtre bunun hangi cihaz olduğunu belirleyemiyor, çünkü cihaz adresini sürekli değiştiriyor. "
    "Modeminizin tanıdığı cihazlar etkilenmez. En son eklenen cihazları kontrol edin; yardıma ihtiyacınız varsa "
    "sağlayıcınıza ({provider}) başvurun.",
    "h_others": "E-posta göndermiş diğer cihazlar",
    "more_devices": "Ve {count} cihaz daha.",
    "nothing": "Şimdiye kadar hiçbir cihaz bir posta sunucusuna doğrudan e-posta göndermedi.",
    "blocked_all": "Bu hattan hiçbir cihaz, siz izin vermedikçe, başka posta sunucularına doğrudan e-posta gönderemez "
    "(port 25). E-posta hizmetiniz üzerinden gönderilen e-postalar bundan etkilenmez.",
    "h_privacy": "Filtre neleri görür?",
    "privacy": "Yalnızca cihazların posta sunucularına doğrudan gönderdiği e-postalara bakar (port 25): hangi "
    "sunuculara bağlandıklarına, kendilerini nasıl tanıttıklarına, sunucuların ne yanıt verdiğine ve ne kadar "
    "gönderildiğine. Ayrıca bir cihazın posta sunucularını ne sıklıkta sorguladığını ve e-posta hizmetlerine (port "
    "587 ve 465) ne sıklıkta bağlandığını sayar. İletilerin içeriği hiçbir zaman okunmaz, e-posta adresleri saklanmaz.",
    "privacy_local": "Bunların hiçbiri evinizden dışarı çıkmaz.",
    "privacy_reports": "Bir cihaza büyük olasılıkla zararlı yazılım bulaştığında ya da bir cihaz posta sunucusuna "
    "benzediğinde sağlayıcınıza ({provider}) şunlar takma bir numarayla bildirilir: zamanlar, miktarlar, belirtiler, "
    "cihazın türü, üretici kodu ve bildirime verdiğiniz yanıt. Ayrıca günde bir kez filtrenin çalıştığı bildirilir. "
    "İçerik ve e-posta adresleri hiçbir zaman bildirilmez.",
    "privacy_names": "Cihazın kendine verdiği ad da bildirilir.",
    "as_of": "Durum: {time} ({zone}). Güncel durumu görmek için sayfayı yenileyin.",
    # ── the notice that is served ──
    "h_not_here": "Bu cihazla ilgili bir şey yok",
    "lead_not_here": "Zararlı yazılım bulaşmış cihazlar hattınızdan spam gönderemesin diye bu modemde bir posta "
    "filtresi çalışıyor. Filtreyi sunan: {provider}. Filtrenin, bunu okuduğunuz cihazla ilgili bildireceği bir şey "
    "yok.",
    "h_answer": "Yanıtınız",
    "answer_seen": "Bunu gördüm",
    "hint_seen": "Web siteleri hemen yeniden açılır. Cihazın e-postaları için hiçbir şey değişmez.",
    "hint_seen_other": "Bu sayfa burada bir daha açılmaz; ilgili cihazda açılmaya devam eder.",
    "answer_cleaned": "Bu cihazı temizledim",
    "hint_cleaned": "Cihaz temiz sayılır; filtre onu izlemeye devam eder.",
    "hint_cleaned_isp": "Sağlayıcınıza ({provider}) bildirilir; engeli sağlayıcınız kaldırır.",
    "answer_server": "Bu benim posta sunucum",
    "hint_server": "Bundan sonra kendisi e-posta gönderebilir.",
    "hint_server_isp": "Sağlayıcınıza ({provider}) bildirilir; kararı sağlayıcınız verir.",
    "answer_mistake": "Bunda bir yanlışlık var",
    "hint_mistake": "İtirazınız sağlayıcınıza ({provider}) bildirilir.",
    "hint_tell": "Lütfen sağlayıcınıza ({provider}) siz de haber verin: bu modem bunu bildirmez.",
    "thanks": "Teşekkür ederiz",
    "done_seen": "Bildirimi gördünüz. Web siteleri eskisi gibi açılır.",
    "done_cleaned": "Yanıtınız kaydedildi. Cihazın engelini sağlayıcınızın ({provider}) kaldırması gerekiyor.",
    "done_released": "Cihaz temiz sayılır. Filtre onu izlemeye devam eder.",
    "done_server": "Yanıtınız kaydedildi. Cihazın kendisinin e-posta gönderip gönderemeyeceğine sağlayıcınız "
    "({provider}) karar verir.",
    "done_exempted": "Cihaz bundan sonra kendisi e-posta gönderebilir.",
    "done_mistake": "İtirazınız kaydedildi. Web siteleri eskisi gibi açılır.",
    "not_done": "Bu işlem yapılamadı",
    "done_refused": "Yalnızca ilgili cihazdan yanıt verilebilir. Bu sayfayı o cihazda açıp yeniden deneyin.",
    "done_busy": "Çok fazla yanıt geldi. Lütfen bir saat sonra yeniden deneyin.",
    "done_failed": "Modem bu işlemi yapamadı. Lütfen bir dakika sonra yeniden deneyin.",
    "h_quarantine": "Bu cihaz karantinada",
    "quarantine": "Temizlenene kadar interneti kullanamaz: yalnızca bu sayfaya, modeme ve sağlayıcınızın "
    "({provider}) yardım sayfalarına ulaşır. Diğer cihazlarınız etkilenmez.",
    "quarantine_ends": "Karantina en geç {time} tarihinde sona erer.",
    "quarantine_isp": "Artık cihazın engelini yalnızca sağlayıcınız ({provider}) kaldırabilir. Lütfen arayın.",
    "hint_cleaned_held": "Bu, karantinayı hemen sona erdirir (kalan hak: {count}). Filtre cihazı izlemeye devam eder.",
    "done_held": "Cihaz, engeli kaldırılana kadar karantinada kalır.",
    "works_held": "Bu cihazda: bu sayfa, modemin sayfası ve sağlayıcınızın ({provider}) yardım sayfaları. "
    "Diğer cihazlarınız eskisi gibi çalışır.",
    "reach": "Modemin sayfasında daha fazla bilgi var:",
    "answer_there": "Cihazda tarayıcı varsa oradan yanıt verebilirsiniz:",
    "phone": "Telefonla yardım:",
    # ── the provider's mail and its short message ──
    "mail_subject": "Evinizde ilgilenmeniz gereken bir cihaz var",
    "mail_hello": "Sayın müşterimiz,",
    "mail_intro": "Modeminizdeki posta filtresi, evinizde ilgilenmeniz gereken bir cihaz buldu.",
    "mail_device": "Cihaz",
    "mail_unnamed": "adı modeminizin sayfasında yazıyor",
    "mail_case": "Kayıt numarası",
    "mail_page": "Modeminizin bunun için bir sayfası vardır (“Posta filtresi”): cihazın adı ve neyin fark edildiği "
    "orada yazar. Sayfayı açmak için tarayıcıya modemin adresini ve ardından /mail-filter/ yazın. Adres genellikle "
    "modemin üzerinde yazılıdır.",
    "mail_below": "Türkçe metin aşağıdadır.",
    "mail_safety": "Bu ileti sizden parola istemez ve bir giriş sayfasına yönlendirmez. Şüpheniz varsa sağlayıcınızı "
    "({provider}) bildiğiniz numaradan arayın.",
    "mail_bye": "Saygılarımızla",
    "signature": "{Provider}",
    "sms": "{Provider}: Evinizdeki bir cihaza buyuk olasilikla zararli yazilim bulasmis. Yapmaniz gerekenler "
    "e-postamizda.",
}

NOTICED = {
    "new-destination": "Dünyanın dört bir yanında, daha önce hiç kullanmadığı posta sunucularına bağlandı.",
    "breadth": "Üzerindeki tek bir program birçok farklı posta sunucusuna yazıyor.",
    "destination-burst": "Bir dakika içinde çok sayıda yeni posta sunucusuna bağlandı.",
    "sustained": "Saatlerce durmadan yeni posta sunucularına bağlanıyor.",
    "connect-refused": "Bağlantıları reddeden posta sunucularını denedi.",
    "connect-timeout": "Yanıt vermeyen posta sunucularını denedi.",
    "helo-dynamic": "Kendini uydurma bir teknik adla tanıtıyor.",
    "helo-address": "Kendini bir ad yerine bir numarayla tanıtıyor.",
    "helo-private": "Kendini yalnızca evinizde var olan bir adresle tanıtıyor.",
    "helo-unqualified": "Kendini tek bir sözcükle tanıtıyor.",
    "helo-empty": "Kendini hiçbir ad vermeden tanıtıyor.",
    "helo-rotates": "Kendini sürekli yeni adlarla tanıtıyor.",
    "helo-domain-rotates": "Kendini birçok farklı şirketin adıyla tanıtıyor.",
    "sender-unrelated": "Kendisine ait olmayan bir alan adı adına e-posta gönderiyor.",
    "sender-rotates": "Çok sayıda farklı gönderen alan adıyla e-posta gönderiyor.",
    "new-pair": "Tanımadığı kişilere sürekli yeni adlarla yazıyor.",
    "unauthenticated": "Posta sunucusunda hesabı olmadan e-posta gönderiyor.",
    "banner-refused": "Posta sunucuları onu bağlanır bağlanmaz geri çeviriyor.",
    "unknown-user": "Var olmayan pek çok adrese yazdı.",
    "dnsbl-listed": "Posta sunucuları, hattınızın spam gönderenlerin kara listesinde olduğunu bildiriyor.",
    "dnsbl-unlisted": "Bir posta sunucusu, hattınızı hiçbir kara listede bulmadı.",
    "residential-line": "Posta sunucuları, ev hatlarından doğrudan gelen e-postaları kabul etmiyor.",
    "refused": "Posta sunucuları gönderdiklerini reddetti.",
    "deferred": "Bir posta sunucusu daha sonra yeniden denemesini istedi.",
    "tls-too-short": "Posta sunucularıyla kurduğu şifreli bağlantılar, bir ileti gönderilmeden sona eriyor.",
    "early-talk": "Spam programı gibi davranıyor: sunucunun karşılama iletisini beklemiyor.",
    "blind-pipelining": "Spam programı gibi davranıyor: yanıtları beklemiyor.",
    "content-after-refusal": "Spam programı gibi davranıyor: reddedildiği halde gönderiyor.",
    "not-smtp": "Posta portunu başka bir iş için kullanıyor.",
    "no-quit": "Bağlantıyı spam programlarının yaptığı gibi kapatıyor.",
    "path-spaced": "Posta komutlarını spam programlarının yaptığı gibi yazıyor.",
    "helo-not-ehlo": "Birçok spam programı gibi, eskimiş bir karşılama komutu kullanıyor.",
    "declines-tls": "Mümkün olduğu halde şifreleme kullanmıyor.",
    "verb-case": "Posta komutlarını spam programlarının yaptığı gibi yazıyor.",
    "many-recipients": "Aynı anda çok sayıda kişiye yazıyor.",
    "sender-is-recipient": "Alıcının kendisinden geliyormuş gibi görünen e-postalar gönderiyor.",
    "helo-is-recipient": "Kendini, bağlandığı posta sunucusuymuş gibi gösteriyor.",
    "relayed": "Uygulamalardaki vekil (proxy) programlar gibi, internetteki başka biri adına e-posta aktarıyor.",
    "from-router": "Modemin kendisi e-posta gönderiyor; bunu hiçbir zaman yapmamalı.",
    "mx-lookup": "Posta sunucularını, yalnızca posta sunucularının yaptığı gibi sorguluyor.",
    "mx-foreign": "Posta sunucularını modeminizi atlayarak sorguluyor.",
    "message-content": "Tanımadığı kişilere ileti gönderiyor.",
}
